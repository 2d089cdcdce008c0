// Cards of which one is chosen: a group of radio buttons, so arrow keys and screen readers work as everywhere.
let groups = 0

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector("fieldset")
  const wasOpen = root.querySelector("details")?.open ?? false
  const name = (root.dataset.group ??= `cards-${groups++}`)
  const text = (kind, words) => {
    const found = document.createElement("span")
    found.className = kind
    found.textContent = words
    return found
  }
  const card = (each) => {
    const label = document.createElement("label")
    const input = Object.assign(document.createElement("input"), { type: "radio", name, value: each.key })
    input.checked = each.key === data.chosen
    input.addEventListener("change", () => setTriggerValue("chosen", each.key))
    label.append(input, text("title", each.title))
    if (each.src) label.append(Object.assign(document.createElement("img"), { src: each.src, alt: "" }))
    label.append(...each.lines.map((line) => text("line", line)))
    return label
  }
  const grid = (cards) => {
    const found = document.createElement("div")
    found.className = "grid"
    found.append(...cards.map(card))
    return found
  }
  const focused = root.getRootNode().activeElement?.value
  const legend = document.createElement("legend")
  legend.textContent = data.label
  root.replaceChildren(legend, grid(data.cards))
  if (data.more.length) {
    const details = document.createElement("details")
    const summary = document.createElement("summary")
    summary.textContent = data.more_label
    details.open = wasOpen
    details.append(summary, grid(data.more))
    root.append(details)
  }
  if (focused) [...root.querySelectorAll("input")].find((input) => input.value === focused)?.focus()
}
