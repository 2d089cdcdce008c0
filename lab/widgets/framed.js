// What Python's `framed` packed: u32 header length (little endian), header as JSON, then the bodies.
function unframed(data) {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data)
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true)
  return { header: JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length))), body: bytes.subarray(4 + length) }
}
