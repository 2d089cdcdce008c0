// A slider moves all sheets of its section: the frame that is shown is a place of the background.
for (const player of document.querySelectorAll(".player")) {
  const range = player.querySelector("input"), button = player.querySelector(".play")
  const frames = [...player.querySelectorAll(".frame")].map((frame) => {
    const { across, words } = JSON.parse(frame.dataset.sheet)
    return { frame, across, words, readout: frame.parentElement.querySelector("figcaption small") }
  })
  let timer = null
  const draw = () => {
    for (const { frame, across, words, readout } of frames) {
      const at = Math.round(Number(range.value) / Math.max(1, Number(range.max)) * (words.length - 1))
      const [width, height] = [parseFloat(frame.style.width), parseFloat(frame.style.height)]
      frame.style.backgroundPosition = `${-(at % across) * width}px ${-Math.floor(at / across) * height}px`
      frame.dataset.at = at
      readout.textContent = words[at]
    }
    if (frames.length) range.setAttribute("aria-valuetext", frames[0].words[frames[0].frame.dataset.at])
  }
  const pause = () => { clearInterval(timer); timer = null; button.textContent = "Play" }
  range.oninput = () => { pause(); draw() }
  button.onclick = () => {
    if (timer !== null) return pause()
    if (Number(range.value) >= Number(range.max)) range.value = 0
    button.textContent = "Pause"
    draw()
    timer = setInterval(() => {
      if (Number(range.value) >= Number(range.max)) return pause()
      range.value = Number(range.value) + 1
      draw()
    }, 180)
  }
  draw()
}
for (const button of document.querySelectorAll(".copy")) {
  button.hidden = !navigator.clipboard
  button.onclick = async () => {
    try {
      await navigator.clipboard.writeText(button.closest("section").querySelector("pre").textContent)
      button.textContent = "Copied"
    } catch { button.textContent = "Select it and press Ctrl-C" }
  }
}
