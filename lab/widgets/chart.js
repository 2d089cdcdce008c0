// A chart that stays: Plotly draws into the same node again, so a tick makes nothing anew and a zoom outlives it.
const charts = new WeakMap()
const FULL = { // Material's "fullscreen"
  width: 24, height: 24, path: "M7 14H5v5h5v-2H7v-3zm-2-4h2V7h3V5H5v5zm12 7h-3v2h5v-5h-2v3zM14 5v2h3v3h2V5h-5z",
}

// What Plotly takes from the theme of the page; the colors of the data come with the figure.
const templateOf = (root) => {
  const style = getComputedStyle(root)
  const of = (name) => style.getPropertyValue(`--st-${name}`).trim()
  const [text, line, page] = [of("text-color"), of("border-color"), of("background-color")]
  const words = { color: of("gray-text-color"), size: 12 }
  const axis = {
    gridcolor: line, zerolinecolor: line, linecolor: line, tickcolor: line, tickfont: words, automargin: true,
    ticklabelstandoff: 4, title: { font: words, standoff: 10 },
  }
  return {
    data: { scatter: [{ marker: { line: { width: 0 } } }] },
    layout: {
      font: { family: of("font"), color: text, size: 12 }, title: { font: { color: text, weight: 600 } },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", colorway: of("chart-categorical-colors").split(","),
      xaxis: { ...axis, showgrid: false, zeroline: false }, yaxis: axis, legend: { font: words },
      hoverlabel: { bgcolor: page, bordercolor: line, font: { color: text, size: 12 } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: words.color, activecolor: of("primary-color") },
    },
  }
}

const begin = (root) => {
  const chart = { plot: root.querySelector(".plot"), sketch: root.querySelector(".sketch"), seen: false, busy: false }
  const full = () => document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen()
  chart.button = { name: "Full screen", icon: FULL, click: full }
  const watch = new IntersectionObserver(([entry]) => {
    chart.seen = entry.isIntersecting
    draw(root, chart)
  }, { rootMargin: "200px" })
  watch.observe(root)
  const sizes = new ResizeObserver(([entry]) => {
    const { width } = entry.contentRect
    if (!chart.width || !width || width === chart.width) return
    chart.width = width
    if (chart.plot.data) window.Plotly.Plots.resize(chart.plot)
    else sketch(chart.sketch, chart.figure, templateOf(root))
  })
  sizes.observe(root)
  root.onfullscreenchange = () => {
    const height = document.fullscreenElement ? innerHeight - 32 : chart.figure.layout.height
    window.Plotly.relayout(chart.plot, { height })
  }
  root.onpointerenter = root.onfocus = () => {
    chart.touched = true
    draw(root, chart)
  }
  root.onkeydown = (event) => press(event, root, chart)
  const print = () => draw(root, chart, true)
  addEventListener("beforeprint", print)
  chart.end = () => {
    watch.disconnect()
    sizes.disconnect()
    removeEventListener("beforeprint", print)
    if (chart.plot.data) window.Plotly.purge(chart.plot)
    charts.delete(root)
  }
  return chart
}

const draw = async (root, chart, anyhow = false) => {
  if (chart.busy || !(chart.seen || anyhow)) return
  chart.busy = true
  try {
    for (let template = templateOf(root); ; template = templateOf(root)) {
      const { data } = chart
      const sketched = data.sketch && !chart.touched
      const known = [data.id, data.view, sketched, JSON.stringify(template)].join()
      if (known === chart.known) break
      const figure = data.id === chart.figure?.id ? chart.figure : { id: data.id, ...JSON.parse(data.figure) }
      Object.assign(chart, { known, figure, width: root.clientWidth })
      if (sketched) {
        sketch(chart.sketch, figure, template)
        continue
      }
      const Plotly = await window.labPlotly().catch((error) => { chart.known = null; throw error })
      const first = !chart.plot.data
      const layout = { ...figure.layout, template, uirevision: data.view, autosize: true }
      const drawn = Plotly.react(chart.plot, figure.data, layout, { ...data.config, modeBarButtonsToAdd: [chart.button] })
      if (first) chart.plot.on("plotly_relayout", (change) => zoomed(change, chart)) // it can be zoomed before it is done
      await drawn
      chart.sketch.replaceChildren()
    }
    root.querySelector(".failed").hidden = true
  } catch (error) {
    console.error(error)
    root.querySelector(".failed").hidden = false
  } finally {
    chart.busy = false
  }
}

// What the person did to the x-axis, for charts whose server draws what is inside with more points.
const zoomed = (change, chart) => {
  const ends = change["xaxis.range"] ?? [change["xaxis.range[0]"], change["xaxis.range[1]"]]
  if (!chart.data.zooms) return
  if (change["xaxis.autorange"]) chart.say("zoom", { ends: null })
  else if (ends.every((end) => typeof end === "number")) chart.say("zoom", { ends })
}

const press = (event, root, chart) => {
  const range = chart.plot.layout?.xaxis?.range
  if (event.target !== root || event.ctrlKey || event.metaKey || event.altKey || !range) return
  const [low, high] = range.map(Number)
  const wide = high - low
  const ends = {
    "+": [low + wide / 4, high - wide / 4], "-": [low - wide / 2, high + wide / 2],
    ArrowLeft: [low - wide / 4, high - wide / 4], ArrowRight: [low + wide / 4, high + wide / 4],
  }[event.key]
  if (ends && wide) window.Plotly.relayout(chart.plot, { "xaxis.range": ends })
  else if (event.key === "0") window.Plotly.relayout(chart.plot, { "xaxis.autorange": true })
  else return
  event.preventDefault()
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".lab-chart")
  const chart = charts.get(root) ?? begin(root)
  charts.set(root, chart)
  chart.data = data
  chart.say = setTriggerValue
  root.ariaLabel = data.label
  root.style.minHeight = `${data.height}px`
  draw(root, chart)
  return chart.end
}
