// The film strips of the selected image: a cell per step, above the slider and on its axis.
const MOST_CELLS = 16 // more steps are sampled evenly

// onseek(frame): a cell was clicked
function drawStrips(box, root, header, state, onseek) {
  const views = state.views.filter((view) => view.sheet && !view.layer.signed), last = header.frames - 1
  box.hidden = state.picked < 0 || !views.length
  root.classList.toggle("stripped", !box.hidden)
  if (box.hidden) { box.replaceChildren(); return }
  const cells = Math.min(header.frames, MOST_CELLS), [width, height] = header.picture, [x, y] = corner(header, state.picked)
  const frameOf = (cell) => Math.round((cell * last) / Math.max(1, cells - 1))
  root.style.setProperty("--cells", cells)
  box.replaceChildren(...views.map((view) => {
    const [figure, caption, canvas] = ["figure", "figcaption", "canvas"].map((name) => document.createElement(name))
    const held = document.createElement("div"), ring = document.createElement("div"), { layer } = view
    caption.textContent = layer.title || layer.caption
    canvas.width = cells * (width + 1) - 1
    canvas.height = height
    canvas.setAttribute("role", "img")
    canvas.setAttribute("aria-label", `${header.names[state.picked]}: ${caption.textContent} at every step`)
    const context = canvas.getContext("2d")
    for (let cell = 0; cell < cells; cell++) {
      const frame = frameOf(cell), column = frame % layer.columns, row = Math.floor(frame / layer.columns)
      if (frame >= header.since) {
        context.drawImage(view.sheet, column * header.width + x, row * header.height + y, width, height,
          cell * (width + 1), 0, width, height)
      }
    }
    held.className = "held"
    ring.className = "ring"
    canvas.onclick = (event) => {
      const { left, width: wide } = canvas.getBoundingClientRect()
      onseek(frameOf(Math.floor(((event.clientX - left) / wide) * cells)))
    }
    held.append(canvas, ring)
    figure.append(caption, held)
    return figure
  }))
}
