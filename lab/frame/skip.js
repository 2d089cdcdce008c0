// The first stop of Tab on every page: past the header, to the first control of the page.
addEventListener("DOMContentLoaded", () => {
  const skip = document.createElement("button")
  skip.id = "lab-skip"
  skip.textContent = "Skip to content"
  skip.onclick = () => {
    const header = document.querySelector(".st-key-lab-top")
    const usable = "a[href]:not([aria-label='Link to heading']), button:enabled, input:enabled, textarea:enabled, summary, [tabindex='0']"
    const first = [...document.querySelectorAll(`[data-testid="stMainBlockContainer"] :is(${usable})`)].find(
      (each) => !header?.contains(each) && each.checkVisibility({ visibilityProperty: true }))
    first?.focus({ focusVisible: true })
  }
  document.body.prepend(skip)
})
