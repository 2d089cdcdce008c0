// Denoising scrubber. data = bytes: u32 header length (little endian), header as JSON, then one sprite-sheet image
// that holds every frame of every layer. All scrubbing happens here; Python hears nothing until a new drawing comes.
const kept = new WeakMap()

function parse(data) {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data)
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true)
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)))
  return { header, image: bytes.subarray(4 + length) }
}

function label(box, texts, direction, width) {
  box.replaceChildren(...texts.map((text) => {
    const item = document.createElement("span")
    item.textContent = item.title = text
    return item
  }))
  box.style.display = texts.length ? "grid" : "none"
  box.style[direction === "column" ? "gridTemplateColumns" : "gridTemplateRows"] = `repeat(${texts.length}, minmax(0, 1fr))`
  box.style.width = width
}

export default function ({ data, parentElement }) {
  const find = (selector) => parentElement.querySelector(selector)
  const { header, image } = parse(data)
  const root = find(".scrubber"), range = find("input[type=range]"), play = find(".play")
  const readout = find("output"), speed = find("select")
  const canvases = [find(".noisy"), find(".clean")]
  let state = kept.get(parentElement)
  if (!state) {
    state = { frame: 0, timer: null, sheet: null, id: null }
    kept.set(parentElement, state)
  }

  const draw = (frame) => {
    state.frame = Math.max(0, Math.min(header.frames - 1, frame))
    range.value = state.frame
    readout.textContent = header.labels[state.frame]
    range.setAttribute("aria-valuetext", header.labels[state.frame])
    root.dataset.frame = state.frame
    if (!state.sheet) return
    canvases.forEach((canvas, layer) => {
      const cell = layer * header.frames + state.frame
      const context = canvas.getContext("2d")
      context.imageSmoothingEnabled = false
      context.drawImage(
        state.sheet, (cell % header.columns) * header.width, Math.floor(cell / header.columns) * header.height,
        header.width, header.height, 0, 0, canvas.width, canvas.height)
    })
  }
  const pause = () => {
    clearInterval(state.timer)
    state.timer = null
    play.textContent = "Play"
    root.dataset.playing = "0"
  }
  const start = () => {
    if (state.frame >= header.frames - 1) draw(0)
    play.textContent = "Pause"
    root.dataset.playing = "1"
    state.timer = setInterval(() => (state.frame >= header.frames - 1 ? pause() : draw(state.frame + 1)), 1000 / Number(speed.value))
  }
  const toggle = () => (state.timer ? pause() : start())

  range.max = header.frames - 1
  range.oninput = () => { pause(); draw(Number(range.value)) }
  play.onclick = toggle
  speed.onchange = () => { if (state.timer) { pause(); start() } }
  root.onkeydown = (event) => {
    if (event.target === speed) return
    const moves = {
      ArrowLeft: () => draw(state.frame - 1), ArrowRight: () => draw(state.frame + 1),
      Home: () => draw(0), End: () => draw(header.frames - 1), " ": toggle,
    }
    const move = moves[event.key]
    if (!move || (event.key === " " && event.target === play)) return
    if (event.key !== " ") pause()
    move()
    event.preventDefault()
  }

  if (state.id !== header.id) {
    pause()
    state.id = header.id
    state.sheet = null
    root.dataset.ready = "0"
    canvases.forEach((canvas) => {
      canvas.width = header.width * header.zoom
      canvas.height = header.height * header.zoom
      canvas.style.width = `${header.width * header.zoom}px`
    })
    const width = `${header.width * header.zoom}px`
    parentElement.querySelectorAll(".heads").forEach((box) => label(box, header.heads, "column", width))
    parentElement.querySelectorAll(".sides").forEach((box) => label(box, header.sides, "row", ""))
    if (header.captions.length) parentElement.querySelectorAll("figure").forEach((figure, layer) => {
      figure.style.display = layer < header.captions.length ? "" : "none"
      figure.querySelector("figcaption").textContent = header.captions[layer] ?? ""
    })
    createImageBitmap(new Blob([image], { type: header.mime })).then((sheet) => {
      if (state.id !== header.id) return
      state.sheet = sheet
      root.dataset.ready = "1"
      draw(header.first)
    })
  } else draw(state.frame)

  return () => { clearInterval(state.timer); kept.delete(parentElement) }
}
