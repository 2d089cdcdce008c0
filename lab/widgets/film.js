// The film of learning. data: header and one sprite sheet per panel, each with a cell for every training time and
// denoising step. Two sliders choose the cell; Python hears nothing.
const kept = new WeakMap()

const make = (tag, text = "") => {
  const element = document.createElement(tag)
  element.textContent = text
  return element
}

export default function ({ data, parentElement }) {
  const find = (selector) => parentElement.querySelector(selector)
  const { header, body } = unframed(data)
  const root = find(".film"), speed = find("select")
  const axes = ["time", "frame"].map((name) => ({
    name, bar: find(`.${name}`), range: find(`.${name} input`), play: find(`.${name} button`), out: find(`.${name} output`),
  }))
  const counts = [header.times.length, header.frames]
  let state = kept.get(parentElement)
  if (!state) {
    state = { at: [0, 0], timer: null, playing: null, id: null, label: undefined, atEnd: true, panels: [], readouts: [] }
    kept.set(parentElement, state)
  }

  const place = (film) => {  // where a film stands: its own training time and denoising step
    const { at, frames } = { at: header.times[state.at[0]].at[film], frames: header.films[film].frames.length }
    return [at, counts[1] > 1 ? Math.round((state.at[1] * (frames - 1)) / (counts[1] - 1)) : frames - 1]
  }
  const words = (film) => {
    const [time, frame] = place(film)
    return [header.films[film].times[time], header.films[film].frames[frame]].filter(Boolean).join(" · ")
  }
  const draw = (time, frame) => {
    state.at = [time, frame].map((value, axis) => Math.max(0, Math.min(counts[axis] - 1, value)))
    state.label = header.times[state.at[0]].label
    state.atEnd = state.at[0] === counts[0] - 1
    const texts = [header.times[state.at[0]].label, header.films.length === 1 ? header.films[0].frames[place(0)[1]] : `${state.at[1] + 1} of ${counts[1]}`]
    axes.forEach((axis, index) => {
      axis.range.value = state.at[index]
      axis.out.textContent = texts[index]
      axis.range.setAttribute("aria-valuetext", texts[index])
      root.dataset[axis.name] = state.at[index]
    })
    state.readouts.forEach((line, film) => { line.textContent = words(film) })
    state.panels.forEach(({ panel, sheet, context }) => {
      if (!sheet) return
      const [own, step] = place(panel.film)
      const cell = Math.min(own, panel.times - 1) * panel.frames + Math.min(step, panel.frames - 1)
      context.imageSmoothingEnabled = false
      context.drawImage(
        sheet, (cell % panel.columns) * panel.width, Math.floor(cell / panel.columns) * panel.height,
        panel.width, panel.height, 0, 0, context.canvas.width, context.canvas.height)
    })
  }
  const move = (axis, by) => draw(state.at[0] + (axis === 0 ? by : 0), state.at[1] + (axis === 1 ? by : 0))
  const jump = (axis, to) => draw(axis === 0 ? to : state.at[0], axis === 1 ? to : state.at[1])
  const pause = () => {
    clearInterval(state.timer)
    state.timer = state.playing = null
    axes.forEach((axis) => { axis.play.textContent = "Play"; axis.play.setAttribute("aria-pressed", "false") })
    root.dataset.playing = ""
  }
  const start = (axis) => {
    pause()
    if (state.at[axis] >= counts[axis] - 1) jump(axis, 0)
    state.playing = axis
    axes[axis].play.textContent = "Pause"
    axes[axis].play.setAttribute("aria-pressed", "true")
    root.dataset.playing = axes[axis].name
    state.timer = setInterval(() => (state.at[axis] >= counts[axis] - 1 ? pause() : move(axis, 1)), 1000 / Number(speed.value))
  }
  const toggle = (axis) => (state.playing === axis ? pause() : start(axis))

  axes.forEach((axis, index) => {
    axis.bar.style.display = counts[index] > 1 ? "" : "none"
    axis.range.max = counts[index] - 1
    axis.range.oninput = () => { pause(); jump(index, Number(axis.range.value)) }
    axis.play.onclick = () => toggle(index)
  })
  speed.onchange = () => { if (state.playing !== null) start(state.playing) }
  root.onkeydown = (event) => {
    if (event.target === speed) return
    const axis = counts[1] < 2 || event.target === axes[0].range || event.target === axes[0].play ? 0 : 1
    const moves = {
      ArrowLeft: () => move(axis, -1), ArrowRight: () => move(axis, 1), ArrowUp: () => move(0, -1), ArrowDown: () => move(0, 1),
      Home: () => jump(axis, 0), End: () => jump(axis, counts[axis] - 1), " ": () => toggle(axis),
    }
    const act = moves[event.key]
    if (!act || (event.key === " " && event.target.tagName === "BUTTON")) return
    if (event.key !== " ") pause()
    act()
    event.preventDefault()
  }

  if (state.id !== header.id) {
    const before = { label: state.label, atEnd: state.atEnd, frame: state.at[1] }
    pause()
    state.id = header.id
    root.dataset.ready = "0"
    state.readouts = []
    const blocks = header.films.map((film) => {
      const block = make("section")
      block.className = "one"
      if (header.films.length > 1) {
        state.readouts.push(make("p"))
        block.append(make("h4", film.title), state.readouts.at(-1))
      }
      return block
    })
    let offset = 0
    state.panels.forEach(({ sheet }) => sheet?.close())
    state.panels = header.panels.map((panel) => {
      const figure = make("figure"), canvas = make("canvas"), width = `${panel.width * panel.zoom}px`
      canvas.width = panel.width * panel.zoom
      canvas.height = panel.height * panel.zoom
      canvas.style.width = width
      canvas.setAttribute("role", "img")
      canvas.setAttribute("aria-label", panel.caption)
      figure.append(make("figcaption", panel.caption))
      if (panel.heads.length) {
        const heads = make("div")
        heads.className = "heads"
        heads.style.gridTemplateColumns = `repeat(${panel.heads.length}, minmax(0, 1fr))`
        heads.style.width = width
        heads.append(...panel.heads.map((text) => { const head = make("span", text); head.title = text; return head }))
        figure.append(heads)
      }
      figure.append(canvas)
      blocks[panel.film].append(figure)
      offset += panel.bytes
      return { panel, sheet: null, context: canvas.getContext("2d"), image: body.subarray(offset - panel.bytes, offset) }
    })
    find(".films").replaceChildren(...blocks)
    find(".films").classList.toggle("two", blocks.length > 1)
    // a film that grew goes on where it stood, and at its end follows the training
    const stood = header.times.findIndex((time) => time.label === before.label)
    const time = before.label === undefined || before.atEnd || stood < 0 ? counts[0] - 1 : stood
    const frame = before.label === undefined ? counts[1] - 1 : before.frame
    Promise.all(state.panels.map((item) => createImageBitmap(new Blob([item.image], { type: header.mime })))).then((sheets) => {
      if (state.id !== header.id) return sheets.forEach((sheet) => sheet.close())
      sheets.forEach((sheet, index) => { state.panels[index].sheet = sheet; state.panels[index].image = null })
      draw(time, frame)
      root.dataset.ready = "1"
    })
  } else draw(...state.at)

  return () => { clearInterval(state.timer); kept.delete(parentElement) }
}
