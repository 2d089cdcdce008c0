// The selected image, large: what the judge sees in it at this step, and the training image nearest to it.
const MOST_ROWS = 8 // of odds, where there are more than a dozen classes

function stepOf(header, frame) {
  return header.labels[frame].split(" · ")[0]
}

function oddsAt({ header, odds }, frame, index, label) {
  return odds[(frame * header.pictures + index) * header.classes.length + label] / 255
}

// The classes whose odds are listed: all of a dozen, else those that are ever likely, and the one asked for
function listed(parsed, index) {
  const { header } = parsed, all = header.classes.map((_, label) => label)
  if (all.length <= 12) return all
  const most = (label) => Math.max(...Array.from({ length: header.frames }, (_, frame) => oddsAt(parsed, frame, index, label)))
  const peaks = all.map(most)
  const first = all.toSorted((one, other) => peaks[other] - peaks[one]).slice(0, MOST_ROWS)
  return [...new Set([...first, header.asked[index]])].sort((one, other) => one - other)
}

function fillLarge(large, parsed, index) {
  const { header } = parsed, canvas = large.querySelector("canvas"), commit = header.commits[index] ?? -1
  canvas.width = header.picture[0]
  canvas.height = header.picture[1]
  large.querySelector(".commit").textContent = !header.classes.length ? "" : commit < 0 ? "Judge: undecided to the end"
    : commit === 0 ? "Judge: decided from the first step" : `Judge: decided at ${stepOf(header, commit)}`
  const rows = !header.classes.length ? [] : listed(parsed, index).flatMap((label) => {
    const text = document.createElement("b"), bar = document.createElement("i"), share = document.createElement("span")
    text.textContent = text.title = header.classes[label]
    text.className = label === header.asked[index] ? "asked" : ""
    bar.dataset.label = label
    return [text, bar, share]
  })
  large.querySelector(".odds").replaceChildren(...rows)
  fillNearest(large.querySelector(".nearest"), parsed, index)
}

async function fillNearest(box, parsed, index) {
  const { header, nearest } = parsed, [width, height] = header.picture, canvas = box.querySelector("canvas")
  box.hidden = !header.nearest.bytes
  if (box.hidden) return
  box.querySelector("h5").textContent = header.nearest.titles[index]
  box.querySelector("p").textContent = header.nearest.words[index]
  parsed.near ??= createImageBitmap(new Blob([nearest], { type: "image/png" }))
  const sheet = await parsed.near
  canvas.width = width
  canvas.height = height
  const across = header.nearest.columns, x = (index % across) * (width + 1), y = Math.floor(index / across) * (height + 1)
  canvas.getContext("2d").drawImage(sheet, x, y, width, height, 0, 0, width, height)
}

// This step of it
function drawLarge(large, parsed, state) {
  const { header } = parsed, view = state.views.find((found) => found.layer.name === state.layer) ?? state.views[0]
  if (state.picked < 0 || !view) return
  const canvas = large.querySelector("canvas"), [x, y] = corner(header, state.picked)
  large.querySelector("h4").textContent = `${view.layer.title || view.layer.caption} at ${stepOf(header, state.frame)}`
  canvas.setAttribute("aria-label", `${header.names[state.picked]}: ${view.layer.title || view.layer.caption}`)
  canvas.className = view.layer.signed ? "" : "plain"
  blit(header, view, state.frame, canvas, x, y, ...header.picture)
  large.querySelectorAll(".odds i").forEach((bar) => {
    const share = oddsAt(parsed, state.frame, state.picked, Number(bar.dataset.label))
    bar.style.transform = `scaleX(${share})`
    bar.nextElementSibling.textContent = `${(100 * share).toFixed(0)} %`
  })
}
