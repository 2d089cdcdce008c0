// What Streamlit's links and rows leave out: one way past the header, which page this is, and the address of the first page.
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
  const PAGES = ':is(.st-key-lab-here, [class*="st-key-lab-to-"], [class*="st-key-lab-menu-"], [data-testid="stPopoverBody"]) [data-testid="stPageLink"] a'
  let waits = false
  const mend = () => {
    waits = false
    for (const link of document.querySelectorAll('[data-testid="stPageLink"] a[href=""]')) link.setAttribute("href", "./") // "" is the page that is open
    for (const link of document.querySelectorAll(PAGES)) {
      if (link.pathname === location.pathname) link.setAttribute("aria-current", "page")
      else link.removeAttribute("aria-current")
    }
  }
  new MutationObserver(() => {
    if (!waits) requestAnimationFrame(mend)
    waits = true
  }).observe(document.body, { childList: true, subtree: true })
})
