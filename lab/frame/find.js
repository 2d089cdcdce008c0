// A window of the browser's own over everything: it keeps the focus inside, and gives it back when it closes.
const MOST = 50
const NEWEST = 5 // runs that are listed before anything is typed
const TYPED = "input:not([type=checkbox], [type=radio], [type=range], [type=button], [type=submit]), textarea, select, [contenteditable=true]"

export default function ({ data, parentElement, setTriggerValue }) {
  const part = (name) => parentElement.querySelector(name)
  const [glyph, dialog, field, list, status] = [".glyph", "dialog", "input", "[role=listbox]", "p"].map(part)
  if (data.places) Object.assign(dialog, { places: data.places, problem: data.problem })
  let shown = []

  const rank = (place, words) => {
    const title = place.title.toLowerCase()
    const whole = `${title} ${place.kind} ${place.words.toLowerCase()}`
    if (!words.every((word) => whole.includes(word))) return null
    return title.startsWith(words[0]) ? 0 : words.every((word) => title.includes(word)) ? 1 : 2
  }
  const matches = (places) => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean)
    if (!words.length) {
      const runs = places.filter(({ kind }) => kind === "run").slice(0, NEWEST)
      return [...places.filter(({ kind }) => kind === "page"), ...runs]
    }
    const ranked = places.map((place) => ({ place, at: rank(place, words) })).filter(({ at }) => at !== null)
    return ranked.sort((one, other) => one.at - other.at).map(({ place }) => place)
  }
  const select = (index) => {
    shown.forEach((option, at) => option.setAttribute("aria-selected", String(at === index)))
    const option = shown[index]
    if (option) field.setAttribute("aria-activedescendant", option.id)
    else field.removeAttribute("aria-activedescendant")
    option?.scrollIntoView({ block: "nearest" })
  }
  const selected = () => shown.findIndex((option) => option.getAttribute("aria-selected") === "true")
  const go = (place) => {
    dialog.close()
    setTriggerValue("chosen", place.address)
  }
  const draw = () => {
    const places = dialog.places ?? []
    const found = matches(places)
    shown = found.slice(0, MOST).map((place, at) => {
      const option = Object.assign(document.createElement("a"), { id: `place-${at}`, tabIndex: -1, href: place.address })
      option.setAttribute("role", "option")
      for (const kind of ["title", "kind", "words"]) {
        if (place[kind]) option.append(Object.assign(document.createElement("span"), { className: kind, textContent: place[kind] }))
      }
      option.onclick = (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return // a tab of its own
        event.preventDefault()
        go(place)
      }
      return option
    })
    list.replaceChildren(...shown)
    select(0)
    const more = found.length > MOST ? ` The first ${MOST} are shown.` : ""
    const counted = `${found.length} of ${places.length} found.${more} ↑ ↓ choose, Enter opens, Esc closes.`
    const nothing = `Nothing matches “${field.value.trim()}”. Try a part of a name, a state, an owner or a dataset.`
    status.textContent = !dialog.places ? "Reading the list …" : dialog.problem || (found.length ? counted : nothing)
  }
  const open = () => {
    if (dialog.open) return
    field.value = ""
    setTriggerValue("asked", Date.now())
    draw()
    dialog.showModal()
    field.focus()
  }
  glyph.onclick = open
  field.oninput = draw
  dialog.onclick = (event) => { if (event.target === dialog) dialog.close() }
  dialog.onkeydown = (event) => {
    event.stopPropagation() // a letter typed here is no shortcut of the page
    const steps = { ArrowDown: 1, ArrowUp: -1 }[event.key]
    if (steps && shown.length) select((selected() + steps + shown.length) % shown.length)
    else if (event.key === "Enter") shown[selected()]?.click()
    else return
    event.preventDefault()
  }
  const pressed = (event) => {
    if (event.key.toLowerCase() !== "k" || event.ctrlKey === event.metaKey || event.altKey || event.shiftKey) return
    if (event.composedPath()[0].matches?.(TYPED) || document.querySelector('[data-testid="stDialog"]')) return
    event.preventDefault()
    open()
  }
  addEventListener("keydown", pressed)
  if (dialog.open) draw()
  return () => removeEventListener("keydown", pressed)
}
