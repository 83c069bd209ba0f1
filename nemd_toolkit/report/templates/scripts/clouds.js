// Two clouds of points on a plane: across through both means, up where they spread most beside it.
const unit = (v) => {
  const length = Math.hypot(...v) || 1;
  return v.map((value) => value / length);
};
const dot = (a, b) => a.reduce((sum, value, axis) => sum + value * b[axis], 0);
const minus = (a, b) => a.map((value, axis) => value - b[axis]);

function meanOf(vectors) {
  return vectors[0].map((_, axis) => vectors.reduce((sum, v) => sum + v[axis], 0) / vectors.length);
}

// The direction of most variance, by power iteration; any one where nothing varies.
function principal(vectors) {
  let found = unit(vectors.reduce((longest, v) => (Math.hypot(...v) > Math.hypot(...longest) ? v : longest)));
  for (let turn = 0; turn < 50; turn++) {
    const sum = new Array(found.length).fill(0);
    for (const v of vectors) {
      const along = dot(v, found);
      v.forEach((value, axis) => { sum[axis] += along * value; });
    }
    if (Math.hypot(...sum) < 1e-12) break;
    found = unit(sum);
  }
  return found;
}

// clouds: two lists of vectors; gives two lists of [across, up].
function onPlane(clouds) {
  const means = clouds.map(meanOf), across = unit(minus(means[1], means[0]));
  const rest = clouds.flatMap((cloud, side) => cloud.map((v) => {
    const centred = minus(v, means[side]), along = dot(centred, across);
    return centred.map((value, axis) => value - along * across[axis]);
  }));
  const up = principal(rest);
  return clouds.map((cloud) => cloud.map((v) => [dot(v, across), dot(v, up)]));
}

// names: of the two clouds. Circles and squares, so that they are told apart without colour.
function drawClouds(svg, clouds, names) {
  const [width, height] = [480, 320];
  clearedTo(svg, width, height);
  if (clouds.some((cloud) => cloud.length === 0)) {
    element("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, svg, "too few of their members are on the map");
    return;
  }
  const flat = onPlane(clouds), ends = [0, 1].map((axis) => {
    const values = flat.flat().map((point) => point[axis]);
    return [Math.min(...values), Math.max(...values)];
  });
  const zoom = Math.min(...ends.map(([low, high], axis) => ([width, height][axis] - 60) / (high - low || 1)));
  const place = ([across, up]) => [
    width / 2 + zoom * (across - (ends[0][0] + ends[0][1]) / 2),
    height / 2 - 8 - zoom * (up - (ends[1][0] + ends[1][1]) / 2),
  ];
  flat.forEach((points, side) => {
    for (const point of points) tellsAtPointer(mark(svg, side, ...place(point)), names[side]);
    const left = side ? width / 2 + 12 : 14;
    mark(svg, side, left, height - 12);
    element("text", { x: left + 12, y: height - 8 }, svg, names[side]);
  });
}

function mark(svg, side, x, y) {
  return side
    ? element("rect", { x: x - 3.5, y: y - 3.5, width: 7, height: 7, class: "second" }, svg)
    : element("circle", { cx: x, cy: y, r: 4, class: "first" }, svg);
}
