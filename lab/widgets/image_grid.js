// A labeled grid of cells. data: header and one sprite sheet of the cells that are there. A cell is a button; Python
// hears which one is chosen.
const kept = new WeakMap()

function element(name, className, text = "") {
  const found = document.createElement(name)
  found.className = className
  found.textContent = text
  return found
}

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".image-grid"), { header, body: image } = unframed(data)
  let state = kept.get(parentElement)
  if (!state) kept.set(parentElement, (state = { turn: 0, picked: -1, cells: [], shape: "" }))
  const [x, y, z] = header.words, shape = JSON.stringify(header.words)

  const mark = () => state.cells.forEach((cell, place) => cell.setAttribute("aria-pressed", String(place === state.picked)))
  const build = () => {
    state.shape = shape
    state.cells = []
    root.replaceChildren(...z.map((block) => {
      const section = element("section", "block"), grid = element("div", "grid")
      grid.style.setProperty("--columns", x.length)
      grid.append(element("span", "corner"), ...x.map((text) => element("span", "head", text)))
      for (const row of y) {
        grid.append(element("span", "side", row))
        for (const column of x) {
          const cell = element("button", "cell"), place = state.cells.length
          cell.type = "button"
          cell.disabled = true
          cell.setAttribute("aria-label", [column, row, block].filter(Boolean).join(", "))
          cell.append(element("canvas", ""), element("small", ""))
          cell.onclick = () => {
            state.picked = place
            mark()
            setStateValue("picked", place)
          }
          state.cells.push(cell)
          grid.append(cell)
        }
      }
      if (block) section.append(element("h4", "", block))
      section.append(grid)
      return section
    }))
  }
  const paint = async (turn) => {
    const [width, height] = header.cell
    root.style.setProperty("--cell", `${width}px`)
    root.style.setProperty("--most", `${width * header.zoom}px`)
    root.style.setProperty("--shape", `${width} / ${height}`)
    for (const [place, text] of Object.entries(header.problems)) {
      state.cells[place].querySelector("small").textContent = "not possible"
      state.cells[place].title = text
      state.cells[place].classList.add("refused")
    }
    const sheet = image.length ? await createImageBitmap(new Blob([image], { type: header.mime })) : null
    if (state.turn !== turn) return // newer cells arrived meanwhile
    header.places.forEach((place, index) => {
      const canvas = state.cells[place].querySelector("canvas")
      canvas.width = width
      canvas.height = height
      canvas.getContext("2d").drawImage(sheet, (index % header.columns) * width, Math.floor(index / header.columns) * height,
        width, height, 0, 0, width, height)
      state.cells[place].disabled = false
      state.cells[place].classList.add("there")
    })
    root.dataset.cells = header.places.length
  }

  if (state.shape !== shape || !root.firstChild) build()
  mark()
  paint(++state.turn)
}
