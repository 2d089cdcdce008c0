// Small charts of one number a step, with a cursor that moves with the frame. Drawn once a drawing; a move of the
// cursor changes two attributes a chart.
const SVG = "http://www.w3.org/2000/svg"
const HEIGHT = 40

function shape(name, attributes, parent) {
  const node = document.createElementNS(SVG, name)
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value)
  parent.append(node)
  return node
}

function path(values, low, high) {
  let text = "", pen = "M"
  values.forEach((value, frame) => {
    if (!Number.isFinite(value)) { pen = "M"; return }
    text += `${pen}${frame} ${(HEIGHT * (1 - (value - low) / (high - low))).toFixed(2)}`
    pen = "L"
  })
  return text
}

function mean(lines) {
  return lines[0].map((_, frame) => {
    const known = lines.map((line) => line[frame]).filter(Number.isFinite)
    return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : NaN
  })
}

function words(value) {
  if (!Number.isFinite(value)) return "–"
  const size = Math.abs(value)
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2)
}

// lines: [{values, kind}] back to front, kind "faint", "main" or "other"; marks: frames; → { move(frame) }
function chart(box, { title, how, lines, range, marks, percent, onseek }) {
  const figure = document.createElement("div")
  figure.className = "curve"
  const head = document.createElement("div"), name = document.createElement("span"), now = document.createElement("span")
  head.className = "head"
  name.textContent = name.title = title
  head.append(name, now)
  const frames = lines[0].values.length
  const all = lines.flatMap((line) => line.values.filter(Number.isFinite))
  let low = range ? range[0] : Math.min(...all), high = range ? range[1] : Math.max(...all)
  if (!(high > low)) { low -= 1; high += 1 }
  const svg = document.createElementNS(SVG, "svg")
  svg.setAttribute("viewBox", `0 0 ${Math.max(1, frames - 1)} ${HEIGHT}`)
  svg.setAttribute("preserveAspectRatio", "none")
  svg.setAttribute("role", "img")
  svg.setAttribute("aria-label", `${title}. ${how}`)
  if (low < 0 && high > 0) {
    const zero = HEIGHT * (1 - -low / (high - low))
    shape("line", { class: "zero", x1: 0, x2: frames - 1, y1: zero, y2: zero }, svg)
  }
  for (const line of lines) shape("path", { class: line.kind, d: path(line.values, low, high) }, svg)
  for (const mark of marks) shape("line", { class: "commit", x1: mark, x2: mark, y1: 0, y2: HEIGHT }, svg)
  const cursor = shape("line", { class: "cursor", x1: 0, x2: 0, y1: 0, y2: HEIGHT }, svg)
  const seek = (event) => {
    const { left, width } = svg.getBoundingClientRect()
    onseek(Math.round(((event.clientX - left) / width) * (frames - 1)))
  }
  svg.onpointerdown = (event) => { svg.setPointerCapture(event.pointerId); seek(event) }
  svg.onpointermove = (event) => { if (event.buttons) seek(event) }
  const note = document.createElement("p")
  note.textContent = how
  figure.append(head, svg, note)
  box.append(figure)
  const main = lines.findLast((line) => line.kind === "main")
  return {
    move(frame) {
      cursor.setAttribute("x1", frame)
      cursor.setAttribute("x2", frame)
      const value = main.values[frame]
      now.textContent = percent && Number.isFinite(value) ? `${(100 * value).toFixed(0)} %` : words(value)
    },
  }
}

// All curves of a drawing into `box`, of the chosen picture or the mean of all → charts
function drawCurves(box, parsed, picked, onseek) {
  const { header, numbers } = parsed, charts = []
  box.replaceChildren()
  let at = 0
  for (const curve of header.curves) {
    const lines = Array.from({ length: curve.lines }, () => Array.from(numbers.subarray(at, (at += header.frames))))
    const own = picked >= 0 && curve.lines > 1 ? lines[picked] : mean(lines)
    const faint = curve.lines > 1 ? lines.map((values) => ({ values, kind: "faint" })) : []
    charts.push(chart(box, { ...curve, marks: [], onseek, lines: [...faint, { values: own, kind: "main" }] }))
  }
  if (header.classes.length) charts.push(chart(box, { range: [0, 1], percent: true, onseek, ...judged(parsed, picked) }))
  return charts
}

// What the judge sees, step by step: of the chosen picture every class, else of each picture its own class
function judged(parsed, picked) {
  const { header } = parsed, last = header.frames - 1
  const along = (index, label) => Array.from({ length: header.frames }, (_, frame) => oddsAt(parsed, frame, index, label))
  if (picked < 0) {
    const lines = header.asked.map((label, index) => along(index, label))
    const own = { values: mean(lines), kind: "main" }
    return { title: "Seen as its class", marks: [], lines: [...lines.map((values) => ({ values, kind: "faint" })), own],
      how: "What the judge sees in the predicted image. Lines that stay low are images that go wrong; click one." }
  }
  const asked = header.asked[picked], commit = header.commits[picked]
  const end = header.classes.map((_, label) => oddsAt(parsed, last, picked, label)), final = end.indexOf(Math.max(...end))
  const lines = header.classes.map((_, label) => ({ values: along(picked, label), kind: label === asked ? "main" : "faint" }))
  if (final !== asked) lines[final].kind = "other"
  const order = ["faint", "other", "main"]
  lines.sort((one, other) => order.indexOf(one.kind) - order.indexOf(other.kind))
  return { title: `Seen as ${header.classes[asked]}`, marks: commit >= 0 ? [commit] : [], lines,
    how: commit >= 0 ? `Green: from here on the judge stays with ${header.classes[final]}. A late line means an undecided image.`
      : "The judge never settles on one class: an unclear image." }
}
