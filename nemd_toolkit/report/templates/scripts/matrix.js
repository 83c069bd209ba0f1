// Values of pairs as a square picture, one cell a pair, dark for small ones.
const VIRIDIS = ["440154", "482878", "3e4a89", "31688e", "26828e", "1f9e89", "35b779", "6ece58", "b5de2b", "fde725"]
  .map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
const UNKNOWN = [141, 150, 165, 255];

function shade(share) {
  const at = Math.min(share * (VIRIDIS.length - 1), VIRIDIS.length - 1.000001), low = Math.floor(at);
  return VIRIDIS[low].map((value, channel) => value + (at - low) * (VIRIDIS[low + 1][channel] - value));
}

// p, q: places of each pair's ends; gives the least and the greatest value.
function drawMatrix(canvas, size, p, q, values) {
  const context = canvas.getContext("2d"), image = new ImageData(size, size);
  const low = Math.min(...values), high = Math.max(...values);
  for (let at = 0; at < size * size; at++) image.data.set(UNKNOWN, 4 * at);
  values.forEach((value, at) => {
    const colour = [...shade(high > low ? (value - low) / (high - low) : 0.5), 255];
    image.data.set(colour, 4 * (p[at] * size + q[at]));
    image.data.set(colour, 4 * (q[at] * size + p[at]));
  });
  canvas.width = canvas.height = size;
  context.putImageData(image, 0, 0);
  return [low, high];
}
