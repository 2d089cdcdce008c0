// Lines over an axis, drawn from a figure of Plotly as Plotly would, without its script: that costs most of the time in
// which a page opens, and is needed only once somebody touches the chart. Both write into the same place.
const TYPES = {
  f8: Float64Array, f4: Float32Array, i4: Int32Array, u4: Uint32Array, i2: Int16Array, u2: Uint16Array,
  i1: Int8Array, u1: Uint8Array,
}
const LETTER_PX = 6.2
const RAISED = { "-": "⁻", ...[..."⁰¹²³⁴⁵⁶⁷⁸⁹"] }
const numbers = (given) => {
  if (!given?.bdata) return given ?? []
  return new TYPES[given.dtype](Uint8Array.from(atob(given.bdata), (letter) => letter.charCodeAt(0)).buffer)
}
const plainNumber = (value) => String(Number(value.toPrecision(6)))
const powerOfTen = (power) => {
  return Math.abs(power) < 5 ? plainNumber(10 ** power) : `10${[...String(power)].map((each) => RAISED[each]).join("")}`
}
const FORMATS = {
  ",d": (value) => value.toLocaleString("en-US"),
  "~s": (value) => {
    const [unit, name] = [[1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([least]) => Math.abs(value) >= least) ?? [1, ""]
    return plainNumber(value / unit) + name
  },
}

const placed = (value, axis) => axis.type === "log" ? Math.log10(value) : value

// Places (in powers of ten on a log axis) and words.
const ticksOf = ([low, high], most, axis) => {
  const ticks = []
  if (axis.type === "log") {
    const every = Math.ceil((high - low) / most) // so many powers of ten from one tick to the next
    for (let power = Math.floor(low / every) * every; power <= high; power += every) {
      for (const digit of 3 * (high - low) <= 2 * most ? [1, 2, 5] : [1]) {
        const at = power + Math.log10(digit)
        if (at >= low && at <= high) ticks.push([at, digit === 1 ? powerOfTen(power) : String(digit)])
      }
    }
    return ticks
  }
  const rough = (high - low) / most
  const ten = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map((each) => each * ten).find((each) => each >= rough * 0.999)
  for (let at = Math.ceil(low / step), left = 20 * most; at * step <= high + step * 1e-9 && left > 0; at++, left--) {
    const value = Number((at * step).toPrecision(12))
    ticks.push([value, (FORMATS[axis.tickformat] ?? plainNumber)(value)])
  }
  return ticks
}

const rangeOf = (axis, lines, name) => {
  if (axis.range) return axis.range
  let [low, high] = [Infinity, -Infinity]
  for (const line of lines) {
    for (const each of line[name]) {
      const value = axis.type === "log" && !(each > 0) ? NaN : placed(each, axis)
      if (value < low) low = value
      if (value > high) high = value
    }
  }
  if (!(low <= high)) return [0, 1]
  if (name === "x" && low < high && !lines.some((line) => line.mode.includes("markers"))) return [low, high]
  const room = (high - low) / 18 || Math.abs(high) / 2 || 1
  const least = low - (lines.some((line) => line.mode.includes("markers")) ? 2 : 1) * room
  return [axis.rangemode === "nonnegative" && axis.type !== "log" ? Math.max(0, least) : least, high + room]
}

const sketch = (place, { data, layout }, { layout: theme }) => {
  const lines = data.map((trace) => ({ ...trace, x: numbers(trace.x), y: numbers(trace.y) }))
  const [width, height] = [place.clientWidth, layout.height]
  const { xaxis = {}, yaxis = {} } = layout
  const [xs, ys] = [rangeOf(xaxis, lines, "x"), rangeOf(yaxis, lines, "y")]
  const [words, title] = [theme.legend.font.color, yaxis.title?.text]
  const top = layout.margin.t
  const bottom = height - layout.margin.b - (xaxis.title?.text ? 39 : 17)
  const up = ticksOf(ys, Math.max(2, (bottom - top) / 35), yaxis)
  const left = layout.margin.l + (title ? 16 : 0) + 4 + LETTER_PX * Math.max(0, ...up.map(([, each]) => each.length))
  const right = width - layout.margin.r - 6
  const X = (value) => left + (value - xs[0]) / (xs[1] - xs[0]) * (right - left)
  const Y = (value) => bottom - (value - ys[0]) / (ys[1] - ys[0]) * (bottom - top)
  const add = (parent, kind, about, text) => {
    const found = document.createElementNS("http://www.w3.org/2000/svg", kind)
    for (const [name, value] of Object.entries(about)) found.setAttribute(name, value)
    if (text !== undefined) found.textContent = text
    parent.append(found)
    return found
  }
  const svg = add(document.createDocumentFragment(), "svg", { width, height, "aria-hidden": true, "font-size": 12 })
  svg.style.display = "block"
  const say = (x, y, text, more = {}) => add(svg, "text", { x, y, fill: words, "text-anchor": "middle", ...more }, text)
  const bold = { "text-anchor": "start", "font-size": 14, "font-weight": 600, fill: theme.font.color }
  say(0, top / 2, readable(layout.title.text).textContent, bold)
  for (const [at, text] of up) {
    add(svg, "line", { x1: left, x2: right, y1: Y(at), y2: Y(at), stroke: theme.yaxis.gridcolor })
    say(left - 5, Y(at) + 4, text, { "text-anchor": "end" })
  }
  for (const [at, text] of ticksOf(xs, Math.max(2, (right - left) / 90), xaxis)) {
    say(Math.min(X(at), width - LETTER_PX * text.length / 2), bottom + 17, text) // the last one is never cut off
  }
  if (xaxis.title?.text) say((left + right) / 2, height - layout.margin.b, readable(xaxis.title.text).textContent)
  if (title) {
    const turned = `rotate(-90 ${layout.margin.l + 4} ${(top + bottom) / 2})`
    say(layout.margin.l + 4, (top + bottom) / 2, readable(title).textContent, { transform: turned })
  }
  const inside = add(svg, "svg", { x: left, y: top, width: right - left, height: bottom - top })
  const area = add(inside, "g", { transform: `translate(${-left} ${-top})` })
  for (const shape of layout.shapes ?? []) {
    const at = { x1: X(shape.x0), x2: X(shape.x1), y1: top, y2: bottom }
    add(area, "line", { ...at, stroke: shape.line.color, "stroke-width": shape.line.width, "stroke-dasharray": "3 3" })
  }
  for (const line of lines) {
    const points = Array.from(line.x, (x, at) => [X(placed(x, xaxis)), Y(placed(line.y[at], yaxis))])
    let path = ""
    let pen = "M"
    for (const [x, y] of points) {
      const drawn = Number.isFinite(x + y)
      if (drawn) path += `${pen}${x.toFixed(1)},${y.toFixed(1)}`
      pen = drawn ? "L" : "M"
    }
    const group = add(area, "g", { opacity: line.opacity ?? 1 })
    const { color, width: wide, dash } = line.line
    const pencil = { d: path, class: "js-line", fill: "none", style: `stroke: ${color}`, "stroke-width": wide }
    add(group, "path", dash === "dot" ? { ...pencil, "stroke-dasharray": "3 3" } : pencil)
    if (line.mode.includes("markers")) {
      for (const [cx, cy] of points) if (Number.isFinite(cx + cy)) add(group, "circle", { cx, cy, r: 2.5, fill: color })
    }
  }
  for (const note of layout.annotations ?? []) {
    const across = note.xref === "paper" ? left + note.x * (right - left) : X(note.x)
    const down = /paper|domain/.test(note.yref ?? "") ? bottom - note.y * (bottom - top) : Y(note.y)
    const drop = { top: 13, bottom: -4 }[note.yanchor] ?? 4
    const found = readable(note.text)
    const about = {
      "text-anchor": { left: "start", right: "end" }[note.xanchor] ?? "middle", "font-size": note.font?.size ?? 12,
      fill: note.font?.color ?? theme.font.color,
    }
    const shown = say(across + (note.xshift ?? 0), down + drop - (note.yshift ?? 0), "", about)
    for (const part of found.childNodes) {
      add(shown, "tspan", part.style?.color ? { fill: part.style.color } : {}, part.textContent)
    }
  }
  place.replaceChildren(svg)
}

// Plotly's little HTML, read without running or loading anything.
const readable = (text) => {
  if (/[<&]/.test(text ?? "")) return new DOMParser().parseFromString(text, "text/html").body
  return Object.assign(document.createElement("body"), { textContent: text ?? "" }) // a tenth of the time
}
