export default function ({ data, parentElement }) {
  const root = parentElement.querySelector('.gallery')
  root.style.setProperty('--label', `${Math.max(2, data.label_width)}ch`)
  root.classList.toggle('single', !data.columns)
  root.replaceChildren(
    ...data.rows.map((row) => {
      const line = document.createElement('div')
      line.className = 'row'
      const label = document.createElement('div')
      label.className = 'label'
      label.textContent = row.label
      label.title = row.label
      if (row.note) {
        const note = document.createElement('small')
        note.textContent = row.note
        label.append(note)
      }
      const pictures = document.createElement('div')
      pictures.className = 'pictures'
      for (const each of row.pictures) {
        const image = document.createElement('img')
        image.src = each.src
        image.width = each.width
        image.alt = each.title || row.label
        image.title = each.title || row.label
        pictures.append(image)
      }
      line.append(label, pictures)
      return line
    }),
  )
}
