// Scatter of pictures on a canvas, flat or in space. data: header, positions as float32 (N × 3), classes as uint8 (N),
// then one sprite sheet of the pictures. Hovering and turning happen here; Python hears of a click only: the trigger
// "picked" with the number of the picture.
const kept = new WeakMap()
const NEAR = 14, STILL = 4

function parse(data) {
  const { header, body } = unframed(data)
  let at = 0
  const take = (size) => body.slice(at, (at += size))
  const positions = new Float32Array(take(header.count * 12).buffer)
  return { header, positions, classes: take(header.count), image: body.subarray(at) }
}

export default function ({ data, parentElement, setTriggerValue }) {
  const { header, positions, classes, image } = parse(data)
  const root = parentElement.querySelector(".scatter"), canvas = parentElement.querySelector(".cloud")
  const tip = parentElement.querySelector(".tip"), thumb = tip.querySelector("canvas"), words = tip.querySelector("span")
  let state = kept.get(parentElement)
  if (!state) {
    state = { id: null, sheet: null, turn: 0.5, tilt: 0.35, hovered: -1, screen: null, drag: null }
    kept.set(parentElement, state)
  }
  const style = getComputedStyle(root)
  const ink = style.color

  const project = () => {
    const ratio = window.devicePixelRatio || 1
    const width = root.clientWidth || 600, height = header.height
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio)
    canvas.height = Math.round(height * ratio)
    canvas.style.height = `${height}px`
    const screen = new Float32Array(header.count * 3)
    const [cu, su, cv, sv] = [Math.cos(state.turn), Math.sin(state.turn), Math.cos(state.tilt), Math.sin(state.tilt)]
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity]
    let radius = 0
    for (let i = 0; i < header.count; i++) {
      const [x, y, z] = [positions[3 * i], positions[3 * i + 1], positions[3 * i + 2]]
      if (header.space) {
        const across = cu * x + su * z, deep = -su * x + cu * z
        screen[3 * i] = across
        screen[3 * i + 1] = cv * y - sv * deep
        screen[3 * i + 2] = sv * y + cv * deep
      } else {
        screen[3 * i] = x
        screen[3 * i + 1] = y
      }
      left = Math.min(left, x), right = Math.max(right, x), low = Math.min(low, y), high = Math.max(high, y)
      radius = Math.max(radius, Math.hypot(x, y, z))
    }
    const span = header.space ? [2 * radius, 2 * radius] : [right - left, high - low]
    const scale = 0.92 * Math.min(width / Math.max(span[0], 1e-9), height / Math.max(span[1], 1e-9))
    const middle = header.space ? [0, 0] : [(left + right) / 2, (low + high) / 2]
    for (let i = 0; i < header.count; i++) {
      screen[3 * i] = width / 2 + (screen[3 * i] - middle[0]) * scale
      screen[3 * i + 1] = height / 2 - (screen[3 * i + 1] - middle[1]) * scale
      screen[3 * i + 2] = radius ? screen[3 * i + 2] / radius : 0
    }
    state.screen = screen
    return { context: canvas.getContext("2d"), ratio, width, height }
  }

  const draw = () => {
    const { context, ratio, width, height } = project()
    context.setTransform(ratio, 0, 0, ratio, 0, 0)
    context.clearRect(0, 0, width, height)
    const order = [...Array(header.count).keys()]
    if (header.space) order.sort((a, b) => state.screen[3 * a + 2] - state.screen[3 * b + 2])
    for (const i of order) {
      const depth = header.space ? (state.screen[3 * i + 2] + 1) / 2 : 0.6
      context.globalAlpha = 0.35 + 0.5 * depth
      context.fillStyle = header.colors[classes[i] % header.colors.length]
      context.beginPath()
      context.arc(state.screen[3 * i], state.screen[3 * i + 1], 2 + 1.6 * depth, 0, 7)
      context.fill()
    }
    context.globalAlpha = 1
    context.textAlign = "center"
    context.textBaseline = "middle"
    header.names.forEach((name, label) => label < header.named && centre(context, name, label))
    const [start, end] = header.picked
    context.strokeStyle = context.fillStyle = ink
    if (start !== end) {
      context.lineWidth = 1.5
      context.setLineDash([5, 4])
      context.beginPath()
      context.moveTo(state.screen[3 * start], state.screen[3 * start + 1])
      context.lineTo(state.screen[3 * end], state.screen[3 * end + 1])
      context.stroke()
      context.setLineDash([])
    }
    ring(context, start, "A")
    ring(context, end, "B")
    if (state.hovered >= 0) ring(context, state.hovered, "")
  }
  const centre = (context, name, label) => {
    let [x, y, many] = [0, 0, 0]
    for (let i = 0; i < header.count; i++) if (classes[i] === label) x += state.screen[3 * i], y += state.screen[3 * i + 1], many++
    if (!many) return
    context.font = `700 16px ${style.getPropertyValue("--st-font") || "sans-serif"}`
    context.lineWidth = 4
    context.strokeStyle = style.getPropertyValue("--st-background-color") || "#fff"
    context.strokeText(name, x / many, y / many)
    context.fillStyle = ink
    context.fillText(name, x / many, y / many)
  }
  const ring = (context, i, letter) => {
    const [x, y] = [state.screen[3 * i], state.screen[3 * i + 1]]
    context.lineWidth = 2
    context.strokeStyle = context.fillStyle = ink
    context.beginPath()
    context.arc(x, y, 8, 0, 7)
    context.stroke()
    context.font = "700 13px sans-serif"
    if (letter) context.fillText(letter, x, y - 17)
  }

  const nearest = (event) => {
    const box = canvas.getBoundingClientRect()
    const [x, y] = [event.clientX - box.left, event.clientY - box.top]
    let [best, least] = [-1, NEAR * NEAR]
    for (let i = 0; i < header.count; i++) {
      const away = (state.screen[3 * i] - x) ** 2 + (state.screen[3 * i + 1] - y) ** 2
      if (away < least) least = away, best = i
    }
    return best
  }
  const hover = (i) => {
    if (i === state.hovered) return
    state.hovered = i
    root.dataset.hovered = i
    draw()
    tip.style.display = i < 0 ? "none" : "flex"
    if (i < 0) return
    words.textContent = `${header.names[classes[i]]} · image ${i + 1}`
    if (state.sheet) {
      thumb.width = header.cell[0]
      thumb.height = header.cell[1]
      thumb.getContext("2d").drawImage(
        state.sheet, (i % header.columns) * header.cell[0], Math.floor(i / header.columns) * header.cell[1],
        header.cell[0], header.cell[1], 0, 0, header.cell[0], header.cell[1])
    }
    const [x, y] = [state.screen[3 * i], state.screen[3 * i + 1]]
    tip.style.left = `${Math.min(x + 16, root.clientWidth - 130)}px`
    tip.style.top = `${Math.max(0, Math.min(y - 60, header.height - 130))}px`
  }

  canvas.onpointerdown = (event) => {
    state.drag = { x: event.clientX, y: event.clientY, turn: state.turn, tilt: state.tilt, moved: false }
    canvas.setPointerCapture(event.pointerId)
  }
  canvas.onpointermove = (event) => {
    const drag = state.drag
    if (drag) {
      const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y]
      drag.moved ||= Math.hypot(dx, dy) > STILL
      if (header.space && drag.moved) {
        state.turn = drag.turn + dx / 150
        state.tilt = Math.max(-1.5, Math.min(1.5, drag.tilt + dy / 150))
        hover(-1)
        draw()
        return
      }
    }
    hover(nearest(event))
  }
  canvas.onpointerup = (event) => {
    const moved = state.drag?.moved
    state.drag = null
    const i = nearest(event)
    if (!moved && i >= 0) setTriggerValue("picked", i)
  }
  canvas.onpointerleave = () => { state.drag = null; hover(-1) }
  root.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key]
    if (step) hover((state.hovered + step + header.count) % header.count)
    else if (event.key === "Enter" && state.hovered >= 0) setTriggerValue("picked", state.hovered)
    else if (event.key === "Escape") hover(-1)
    else return
    event.preventDefault()
  }

  if (state.id !== header.id) {
    state.id = header.id
    state.sheet = null
    state.hovered = -1
    root.dataset.hovered = -1
    tip.style.display = "none"
    root.dataset.ready = "0"
    createImageBitmap(new Blob([image], { type: header.mime })).then((sheet) => {
      if (state.id !== header.id) return
      state.sheet = sheet
      root.dataset.ready = "1"
    })
  }
  root.dataset.count = header.count
  canvas.style.cursor = header.space ? "grab" : "crosshair"
  state.watch?.disconnect()
  state.watch = new ResizeObserver(() => draw())
  state.watch.observe(root)
  draw()
  return () => { state.watch?.disconnect(); kept.delete(parentElement) }
}
