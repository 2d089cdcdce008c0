// Scrubber: playing, keys and what belongs to one drawing; the parts are in scrubber_*.js, put before this file.
// All scrubbing happens here; Python hears of a branch, no more.
const kept = new WeakMap()

export default function ({ data, parentElement, setTriggerValue }) {
  const find = (selector) => parentElement.querySelector(selector)
  const root = find(".scrubber"), range = find("input[type=range]"), play = find(".play")
  const readout = find("output"), speed = find("select"), panels = find(".panels"), large = find(".large")
  const branch = find(".branch")
  let state = kept.get(parentElement)
  if (!state) {
    state = { frame: 0, picked: -1, timer: null, id: null, same: null, views: [], charts: [], sheets: [], parsed: null }
    kept.set(parentElement, state)
  }
  const parsed = state.parsed?.raw === data ? state.parsed : { raw: data, ...parse(data), state }
  const { header } = parsed
  const fresh = state.id !== header.id
  state.parsed = parsed
  const last = header.frames - 1, wished = wishedOf(header)

  const draw = (frame) => {
    state.frame = Math.max(0, Math.min(last, frame))
    range.value = state.frame
    readout.textContent = header.labels[state.frame]
    range.setAttribute("aria-valuetext", header.labels[state.frame])
    root.dataset.frame = state.frame
    root.style.setProperty("--at", last ? state.frame / last : 0)
    branch.textContent = `Branch from ${stepOf(header, state.frame)}`
    for (const view of state.views) blit(header, view, state.frame, view.canvas, 0, 0, header.width, header.height)
    for (const found of state.charts) found.move(state.frame)
    drawLarge(large, parsed, state)
  }
  const pause = () => {
    clearInterval(state.timer)
    state.timer = null
    play.textContent = "Play"
    root.dataset.playing = "0"
  }
  const start = () => {
    if (state.frame >= last) draw(0)
    play.textContent = "Pause"
    root.dataset.playing = "1"
    state.timer = setInterval(() => (state.frame >= last ? pause() : draw(state.frame + 1)), 1000 / Number(speed.value))
  }
  const toggle = () => (state.timer ? pause() : start())
  const seek = (frame) => { pause(); draw(frame) }
  const fit = () => fitPanels(panels, header, state)

  const pick = (index, layer) => {
    state.picked = index
    if (layer) state.layer = layer
    large.hidden = index < 0
    root.dataset.picked = index
    if (index >= 0) fillLarge(large, parsed, index)
    fit()
    state.charts = drawCurves(find(".curves"), parsed, index, seek)
    for (const found of state.charts) found.move(state.frame)
    drawLarge(large, parsed, state)
    drawStrips(find(".strips"), root, header, state, seek)
  }
  const showLayers = async () => {
    chipsOf(find(".chips"), header, wished, showLayers)
    const shown = header.layers.map((layer, index) => ({ layer, index })).filter(({ layer }) => wished.has(layer.name))
    const made = shown.map((each, place) => panelOf(header, each, place, (index) => pick(index, each.layer.name)))
    const show = () => {
      state.views = made
      panels.replaceChildren(...made.map((view) => view.figure))
      fit()
    }
    state.made = made
    if (root.dataset.ready !== "1") show() // what stands there is of other pictures; else it stays until these are drawn
    for (const view of made) view.sheet = await sheetOf(parsed, view.index)
    if (state.id !== header.id || state.made !== made) return
    if (state.views !== made) show()
    root.dataset.ready = "1"
    root.dataset.drawing = header.id
    draw(state.frame)
    drawStrips(find(".strips"), root, header, state, seek)
  }

  range.max = last
  range.oninput = () => seek(Number(range.value))
  play.onclick = toggle
  find(".back").onclick = () => seek(state.frame - 1)
  find(".on").onclick = () => seek(state.frame + 1)
  find(".close").onclick = () => pick(-1)
  const askBranch = () => {
    find("details").open = false // the branch comes right under the film strips
    setTriggerValue("branch", state.frame)
  }
  const save = () => document.querySelector('.st-key-generate-head [data-testid="stPopover"] button')?.click()
  branch.hidden = !header.branch
  branch.onclick = askBranch
  speed.onchange = () => { if (state.timer) { pause(); start() } }
  root.classList.toggle("picks", header.names.length > 0)
  root.onkeydown = (event) => {
    if (event.target === speed || event.ctrlKey || event.metaKey || event.altKey) return
    const near = (way) => { if (header.names.length) pick((state.picked + way + header.pictures) % header.pictures) }
    const moves = {
      ArrowLeft: () => seek(state.frame - 1), ArrowRight: () => seek(state.frame + 1), Home: () => seek(0), End: () => seek(last),
      " ": toggle, PageDown: () => near(1), PageUp: () => near(state.picked < 0 ? 0 : -1), Escape: () => { if (state.picked >= 0) pick(-1) },
      b: header.branch ? askBranch : null, s: save,
    }
    const move = moves[event.key]
    if (!move || (event.key === " " && event.target.tagName === "BUTTON")) return
    move()
    event.preventDefault()
  }

  if (fresh) {
    const again = state.same === header.same, plays = state.timer // the same pictures, of which more is known now
    pause()
    Object.assign(state, { id: header.id, same: header.same })
    if (again) {
      state.frame = Math.min(state.frame, last)
      pick(state.picked)
      showLayers()
      if (plays) start()
    } else {
      Object.assign(state, { frame: header.first, picked: -1, sheets: [], views: [] })
      root.dataset.ready = "0"
      pick(header.names.length ? 0 : -1, "clean")
      showLayers()
    }
  } else draw(state.frame)

  const resized = new ResizeObserver(fit)
  resized.observe(panels)
  const app = document.querySelector(".stApp"), themed = new MutationObserver(() => {
    if (state.views.some((view) => view.layer.signed && state.sheets[view.index]?.theme !== (isDark() ? "dark" : "light"))) showLayers()
  })
  if (app) themed.observe(app, { attributes: true, attributeFilter: ["class", "style"] })
  return () => { resized.disconnect(); themed.disconnect(); clearInterval(state.timer); kept.delete(parentElement) }
}
