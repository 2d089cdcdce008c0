// What Python sent → pictures. data: header, then one sprite sheet per layer, the numbers of the curves, the judge's
// odds and the nearest training pictures.
function parse(data) {
  const { header, body } = unframed(data)
  let at = 0
  const take = (size) => body.slice(at, (at += size))
  const images = header.layers.map((layer) => take(layer.bytes))
  const numbers = new Float32Array(take(4 * header.numbers).buffer)
  return { header, images, numbers, odds: take(header.odds), nearest: take(header.nearest.bytes) }
}

function isDark() {
  return getComputedStyle(document.querySelector(".stApp") ?? document.body).colorScheme === "dark"
}

// 256 colours between the stops of a scale
function palette(stops) {
  const rgb = stops.map((stop) => [1, 3, 5].map((place) => parseInt(stop.slice(place, place + 2), 16)))
  return Array.from({ length: 256 }, (_, level) => {
    const place = (level / 255) * (rgb.length - 1), left = Math.min(Math.floor(place), rgb.length - 2)
    return rgb[left].map((value, channel) => value + (rgb[left + 1][channel] - value) * (place - left))
  })
}

function surface(width, height) {
  const canvas = document.createElement("canvas")
  canvas.width = width
  canvas.height = height
  const context = canvas.getContext("2d", { willReadFrequently: true })
  context.imageSmoothingEnabled = false
  return { canvas, context }
}

// A signed layer comes as grey levels without gaps: give it its colours, and the geometry of the other layers
function colored(bitmap, layer, header) {
  const flat = surface(bitmap.width, bitmap.height)
  flat.context.drawImage(bitmap, 0, 0)
  const pixels = flat.context.getImageData(0, 0, bitmap.width, bitmap.height), values = pixels.data
  const colors = palette(isDark() ? header.dark : header.light)
  for (let place = 0; place < values.length; place += 4) {
    const color = colors[values[place]]
    values[place] = color[0]; values[place + 1] = color[1]; values[place + 2] = color[2]
  }
  flat.context.putImageData(pixels, 0, 0)
  const { width, height, pictures, across } = header, [wide, high] = header.picture, [w, h] = layer.picture
  const full = surface(layer.columns * width, Math.ceil(header.frames / layer.columns) * height)
  for (let frame = 0; frame < header.frames; frame++) {
    const column = frame % layer.columns, row = Math.floor(frame / layer.columns)
    for (let index = 0; index < pictures; index++) {
      const x = index % across, y = Math.floor(index / across)
      full.context.drawImage(flat.canvas, column * layer.width + x * w, row * layer.height + y * h, w, h,
        column * width + x * (wide + 1), row * height + y * (high + 1), wide, high)
    }
  }
  return full.canvas
}

// The sheet of a layer, decoded once, and signed ones once a theme
async function sheetOf({ header, images, state }, index) {
  const theme = header.layers[index].signed ? (isDark() ? "dark" : "light") : ""
  const found = state.sheets[index]
  if (found?.theme === theme) return found.sheet
  const bitmap = await createImageBitmap(new Blob([images[index]], { type: header.mime }))
  const sheet = theme ? colored(bitmap, header.layers[index], header) : bitmap
  if (state.same === header.same) state.sheets[index] = { sheet, theme }
  return sheet
}

// Where a picture lies inside a frame, pixels
function corner(header, index) {
  return [(index % header.across) * (header.picture[0] + 1), Math.floor(index / header.across) * (header.picture[1] + 1)]
}

// Part of a frame onto a canvas of the same size
function blit(header, view, frame, canvas, x, y, width, height) {
  if (!view.sheet) return
  const left = (frame % view.layer.columns) * header.width, top = Math.floor(frame / view.layer.columns) * header.height
  canvas.getContext("2d").drawImage(view.sheet, left + x, top + y, width, height, 0, 0, width, height)
}
