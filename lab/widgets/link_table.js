// A table of links. The server sends the whole table at each tick; here only the cells that differ are changed.
// state "ticked": { keys, number }; triggers "sorted": a column, "opened": the key of a row.
const tables = new WeakMap()
const QUIET_MS = 3000 // so long after the pointer or a key moved in the table, its rows keep their places
const SVG = "http://www.w3.org/2000/svg"

const make = (kind, name, words) => {
  const found = document.createElement(kind)
  if (name) found.className = name
  if (words !== undefined) found.textContent = words
  return found
}
const color = (name) => `var(--st-${name}-text-color)`

function fill(td, cell, ink) {
  td.replaceChildren()
  td.title = cell.hint ?? ""
  if (cell.image) td.append(Object.assign(make("img"), { src: cell.image, alt: "" }))
  if (cell.points) {
    const svg = document.createElementNS(SVG, "svg"), line = document.createElementNS(SVG, "polyline")
    svg.setAttribute("aria-hidden", "true")
    line.setAttribute("points", cell.points)
    line.style.stroke = ink
    svg.append(line)
    td.append(svg)
  }
  const words = make("span", cell.color ? "state" : cell.text === "–" ? "none" : "", cell.text ?? "")
  if (cell.color) words.style.setProperty("--ink", color(cell.color))
  if (cell.text) td.append(words)
  if (cell.note) td.append(make("small", "", cell.note))
  if (cell.share !== undefined) {
    const bar = make("i", "bar"), done = make("i")
    done.style.width = `${Math.round(100 * cell.share)}%`
    if (cell.color) done.style.background = color(cell.color)
    bar.append(done)
    td.append(bar)
  }
}

function newTable(root) {
  const head = root.querySelector("thead tr"), body = root.querySelector("tbody")
  const table = { head, body, rows: new Map(), heads: "", ticked: new Set(), number: 0, busyUntil: 0, timer: 0, last: null }
  const asked = () => (table.busyUntil = performance.now() + QUIET_MS)
  for (const kind of ["pointermove", "pointerdown", "keydown"]) root.addEventListener(kind, asked)
  root.addEventListener("pointerleave", () => {
    table.busyUntil = 0
    table.place?.()
  })

  const tell = () => table.send.setStateValue("ticked", { keys: [...table.ticked], number: ++table.number })
  const tick = (keys, on) => {
    for (const each of keys) on ? table.ticked.add(each) : table.ticked.delete(each)
    table.showTicks()
    tell()
  }
  table.showTicks = () => {
    for (const { tr, box } of table.rows.values()) {
      box.checked = table.ticked.has(tr.dataset.key)
      tr.classList.toggle("ticked", box.checked)
    }
    const keys = [...table.rows.keys()], count = keys.filter((each) => table.ticked.has(each)).length
    const all = head.querySelector("input")
    if (all) Object.assign(all, { checked: count > 0 && count === keys.length, indeterminate: count > 0 && count < keys.length })
  }
  const rowOf = (event) => event.target.closest?.("tbody tr")
  const isPlain = (event) => event.button === 0 && !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey)
  root.addEventListener("change", (event) => {
    const box = event.target, row = rowOf(event)
    if (!row) return tick([...table.rows.keys()], box.checked)
    const keys = [...body.children].map((each) => each.dataset.key)
    const [from, to] = [keys.indexOf(table.lastTicked), keys.indexOf(row.dataset.key)].sort((a, b) => a - b)
    const between = table.shift && from >= 0 ? keys.slice(from, to + 1) : [row.dataset.key]
    table.lastTicked = row.dataset.key
    tick(between, box.checked)
  })
  root.addEventListener("click", (event) => {
    table.shift = event.shiftKey
    const sorter = event.target.closest?.("thead button"), row = rowOf(event)
    if (sorter) return table.send.setTriggerValue("sorted", sorter.dataset.key)
    if (!row || event.target.closest("input, label") || !isPlain(event)) return
    if (!event.target.closest("a") && String(getSelection())) return // somebody copies words of a row
    event.preventDefault()
    table.send.setTriggerValue("opened", row.dataset.key)
  })
  root.addEventListener("auxclick", (event) => {
    const row = rowOf(event)
    if (row && event.button === 1 && !event.target.closest("a, input, label")) window.open(row.querySelector("a").href, "_blank")
  })
  root.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key], row = rowOf(event)
    if (!step || !row) return
    const rows = [...body.children], next = rows[rows.indexOf(row) + step]
    next?.querySelector(event.target.closest("a") ? "a" : "input").focus()
    event.preventDefault()
  })
  return table
}

function drawHead(table, data) {
  const heads = JSON.stringify([data.columns, data.order, data.ink])
  if (heads === table.heads) return
  const focused = table.head.getRootNode().activeElement?.dataset?.key
  const all = make("th", "tick"), box = Object.assign(make("input"), { type: "checkbox" })
  box.setAttribute("aria-label", "Tick all rows shown")
  all.append(box)
  const head = ([key, title, help, name]) => {
    const th = make("th", name)
    th.scope = "col"
    th.title = help
    if (!key) th.textContent = title
    else {
      const button = Object.assign(make("button", "", title), { type: "button" })
      button.dataset.key = key
      if (data.order[0] === key) {
        th.setAttribute("aria-sort", data.order[1])
        button.append(Object.assign(make("span", "", data.order[1] === "ascending" ? "↑" : "↓"), { ariaHidden: "true" }))
      }
      th.append(button)
    }
    return th
  }
  table.head.replaceChildren(all, ...[["name", "name", "", ""], ...data.columns].map(head))
  table.heads = heads
  if (focused) [...table.head.querySelectorAll("button")].find((each) => each.dataset.key === focused)?.focus()
}

function drawRow(table, row, data) {
  let known = table.rows.get(row.key)
  const columns = JSON.stringify(data.columns)
  if (!known || known.columns !== columns) {
    const tr = known?.tr ?? make("tr"), tick = make("td", "tick"), label = make("label")
    const box = Object.assign(make("input"), { type: "checkbox" }), name = make("th", "name")
    tr.dataset.key = row.key
    name.scope = "row"
    label.append(box)
    tick.append(label)
    tr.replaceChildren(tick, name, ...data.columns.map(([, , , name]) => make("td", name)))
    known = { tr, box, name, columns, cells: [], facts: "" }
    table.rows.set(row.key, known)
  }
  const { cells, ...facts } = row, text = JSON.stringify(facts)
  if (text !== known.facts) {
    known.facts = text
    known.box.setAttribute("aria-label", `Tick ${row.title}`)
    let link = known.name.querySelector("a")
    link ??= make("a")
    Object.assign(link, { href: row.href, textContent: row.title, title: row.title })
    const kind = make("span", "kind", row.kind ?? "")
    if (row.kind_color) kind.style.color = row.kind_color
    known.name.replaceChildren(make("div"))
    known.name.firstChild.append(...(row.kind ? [kind] : []), link, ...(row.marks ?? []).map((mark) => make("span", "mark", mark)))
    known.tr.classList.toggle("child", Boolean(row.child))
  }
  cells.forEach((cell, place) => {
    const now = JSON.stringify(cell) + data.ink
    if (known.cells[place] === now) return
    known.cells[place] = now
    fill(known.tr.children[place + 2], cell, data.ink)
  })
}

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  const root = parentElement.querySelector(".link-table")
  let table = tables.get(root)
  if (!table) tables.set(root, (table = newTable(root)))
  table.send = { setStateValue, setTriggerValue }
  root.querySelector("table").setAttribute("aria-label", data.label)
  if (data.number >= table.number) {
    table.number = data.number
    table.ticked = new Set(data.ticked)
  }
  const order = JSON.stringify([data.order, data.columns])
  const isSorted = order !== table.order // another order is what somebody asked for, so it comes at once
  table.order = order
  drawHead(table, data)
  const shown = new Set(data.rows.map((row) => row.key))
  for (const row of data.rows) drawRow(table, row, data)
  table.place = () => {
    clearTimeout(table.timer)
    for (const [key, { tr }] of table.rows) if (!shown.has(key)) tr.remove(), table.rows.delete(key)
    const focused = table.body.getRootNode().activeElement
    data.rows.forEach((row, place) => {
      const { tr } = table.rows.get(row.key)
      if (table.body.children[place] !== tr) table.body.insertBefore(tr, table.body.children[place] ?? null)
    })
    if (focused && table.body.contains(focused)) focused.focus({ preventScroll: true })
    table.showTicks()
  }
  const wait = isSorted || !table.body.children.length ? 0 : table.busyUntil - performance.now()
  clearTimeout(table.timer)
  if (wait > 0) table.timer = setTimeout(function again() {
    const left = table.busyUntil - performance.now()
    if (left > 0) table.timer = setTimeout(again, left)
    else table.place()
  }, wait)
  else table.place()
  table.showTicks()
  root.dataset.rows = table.body.children.length
}
