// A default replaces the entry of the browser's history, a choice pushes one: Back leaves a page where nothing was chosen.
// Streamlit pushes every change of the server and replaces every change of a bound widget, whoever made it.
(() => {
  const own = { pushState: history.pushState, replaceState: history.replaceState }
  const LASTS_MS = 10000
  let choice = null // where and when somebody pressed something last, until the address says so
  const press = (event) => {
    if (event.isTrusted) choice = { path: location.pathname, at: performance.now() }
  }
  for (const kind of ["pointerup", "keydown"]) addEventListener(kind, press, true)
  addEventListener("popstate", () => { choice = null }, true)
  const change = (usual) => function (state, title, url) {
    let asked = usual
    const next = new URL(url ?? location.href, location.href)
    if (next.href === location.href) asked = "replaceState" // what a page repeats is no step back
    else if (next.pathname === location.pathname && next.search !== location.search) {
      const chosen = choice && choice.path === location.pathname && performance.now() - choice.at < LASTS_MS
      asked = chosen ? "pushState" : "replaceState"
    }
    choice = null
    return own[asked].call(history, state, title, url)
  }
  history.pushState = change("pushState")
  history.replaceState = change("replaceState")
})()
