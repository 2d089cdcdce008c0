// Plotly, which draws all charts: loaded when the first chart asks for it, once per browser tab.
// Its address is found from that of the page as it was opened, like Streamlit's own files, so it works below any path.
(() => {
  const source = new URL("./PLOTLY_PATH", location.href).href
  let loading = null
  window.labPlotly = () => loading ??= new Promise((done, failed) => {
    const script = document.createElement("script")
    const end = (works) => {
      script.remove()
      if (works) return done(window.Plotly)
      loading = null // the next chart tries again
      failed(new Error(`${source} cannot be loaded`))
    }
    script.onload = () => end(window.Plotly)
    script.onerror = () => end(false)
    script.src = source
    document.head.append(script)
  })
})()
