// The layers side by side: the buttons that show and hide them, their canvases, and the ring around the chosen picture.
const wishes = {} // which layers a person wants to see, by the layers that there are

function wishedOf(header) {
  const shown = header.layers.filter((layer) => layer.shown).map((layer) => layer.name)
  return (wishes[header.layers.map((layer) => layer.name).join()] ??= new Set(shown))
}

function texts(box, items, direction) {
  box.replaceChildren(...items.map((text) => {
    const item = document.createElement("span")
    item.textContent = item.title = text
    return item
  }))
  box.style.display = items.length ? "grid" : "none"
  box.style[direction === "column" ? "gridTemplateColumns" : "gridTemplateRows"] = `repeat(${items.length}, minmax(0, 1fr))`
}

function chipsOf(box, header, wished, changed) {
  box.replaceChildren(...(header.layers.every((layer) => layer.title) ? header.layers.map((layer) => {
    const chip = document.createElement("button")
    chip.type = "button"
    chip.textContent = layer.title
    chip.title = layer.caption
    chip.setAttribute("aria-pressed", String(wished.has(layer.name)))
    chip.onclick = () => {
      if (wished.has(layer.name)) { if (wished.size > 1) wished.delete(layer.name) } else wished.add(layer.name)
      changed()
    }
    return chip
  }) : []))
}

// onpick(index): a picture was clicked
function panelOf(header, { layer, index }, place, onpick) {
  const [figure, caption] = ["figure", "figcaption"].map((name) => document.createElement(name))
  const [sheet, heads, sides, held, ring] = ["sheet", "heads", "sides", "held", "ring"].map((name) => {
    const box = document.createElement("div")
    box.className = name
    return box
  })
  const canvas = document.createElement("canvas")
  caption.textContent = layer.caption
  texts(heads, header.rows <= 2 && place > 0 && header.across > 4 ? [] : header.heads, "column")
  texts(sides, header.sides, "row")
  canvas.className = `${layer.name} ${layer.signed ? "" : "plain"}`
  canvas.width = header.width
  canvas.height = header.height
  canvas.setAttribute("role", "img")
  canvas.setAttribute("aria-label", layer.caption)
  if (header.names.length) canvas.onclick = (event) => {
    const { left, top, width, height } = canvas.getBoundingClientRect()
    const column = Math.floor(((event.clientX - left) / width) * header.across)
    const chosen = Math.floor(((event.clientY - top) / height) * header.rows) * header.across + column
    if (chosen < header.pictures) onpick(chosen)
  }
  held.append(canvas, ring)
  sheet.append(heads, sides, held)
  figure.append(caption, sheet)
  return { layer, index, figure, heads, sides, canvas, ring, sheet: null }
}

// Wide layers of a row or two stand above each other
function isStacked(header) {
  return header.rows <= 2 && header.layers.length > 1 && header.across > 4
}

// As large as there is room for, at half or whole screen pixels a pixel
function fitPanels(panels, header, state) {
  const stacked = isStacked(header)
  panels.classList.toggle("rows", stacked)
  const side = Math.max(0, ...state.views.map((view) => view.sides.offsetWidth + 8))
  const share = stacked || state.views.length === 1 ? 1 : 2
  const room = (panels.clientWidth - 24 * (share - 1)) / share - (header.sides.length ? side : 0)
  const fits = room >= header.width ? Math.floor((2 * room) / header.width) / 2 : room / header.width
  const scale = Math.max(0.25, Math.min(header.zoom, fits))
  const [x, y] = corner(header, Math.max(0, state.picked)), [width, height] = header.picture
  for (const view of state.views) {
    view.canvas.style.width = view.heads.style.width = `${header.width * scale}px`
    view.canvas.style.height = `${header.height * scale}px`
    view.ring.style.display = state.picked < 0 ? "none" : ""
    view.ring.style.left = `${x * scale - 2}px`
    view.ring.style.top = `${y * scale - 2}px`
    view.ring.style.width = `${width * scale + 4}px`
    view.ring.style.height = `${height * scale + 4}px`
  }
}
