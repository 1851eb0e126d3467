import { type Drawing, palette } from "./Drawing.ts"

/**
 * A layered drawing: each box one layer below the lowest box it reads, boxes of a layer ordered by the mean position of what they read
 * (the barycentre method of Sugiyama, Tagawa & Toda 1981), arrows straight.
 */
const font = 12
const lineHeight = 16
const letter = 6.7
const padding = 10
const gap = { x: 24, y: 44 }

interface Placed {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

const escape = (raw: string): string =>
  raw.replace(/[&<>"']|\p{Cc}/gu, (c) => (/[&<>"']/.test(c) ? `&#${c.charCodeAt(0)};` : " "))

const layersOf = ({ boxes, arrows }: Drawing): ReadonlyArray<ReadonlyArray<number>> => {
  const depth = new Array<number>(boxes.length).fill(0)
  // Operands come before their users, so one sweep in that order settles every depth.
  for (const { from, to } of [...arrows].sort((a, b) => a.to - b.to)) {
    depth[to] = Math.max(depth[to] as number, (depth[from] as number) + 1)
  }
  // What reads nothing stands right above its first user.
  const reads = new Set(arrows.map((a) => a.to))
  const first = new Map<number, number>()
  for (const { from, to } of arrows) {
    first.set(from, Math.min(first.get(from) ?? Infinity, depth[to] as number))
  }
  for (const [i, user] of first) if (!reads.has(i)) depth[i] = user - 1
  const layers: Array<Array<number>> = []
  depth.forEach((d, i) => {
    layers[d] ??= []
    layers[d].push(i)
  })
  return Array.from(layers, (layer) => layer ?? [])
}

const place = (
  drawing: Drawing
): { readonly at: ReadonlyArray<Placed>; readonly width: number; readonly height: number } => {
  const sizes = drawing.boxes.map(({ title, lines }) => ({
    width: Math.max(title.length, ...lines.map((l) => l.length)) * letter + 2 * padding,
    height: (1 + lines.length) * lineHeight + padding
  }))
  const sources = new Map<number, Array<number>>()
  for (const { from, to } of drawing.arrows) {
    const known = sources.get(to)
    if (known === undefined) sources.set(to, [from])
    else known.push(from)
  }
  const at: Array<Placed> = []
  const layers = layersOf(drawing)
  const widthOf = (layer: ReadonlyArray<number>): number =>
    layer.reduce((sum, i) => sum + (sizes[i]?.width ?? 0) + gap.x, gap.x)
  const width = layers.reduce((widest, layer) => Math.max(widest, widthOf(layer)), 0)
  let y = gap.y / 2
  for (const layer of layers) {
    const wish = (i: number): number => {
      const xs = (sources.get(i) ?? []).flatMap((s) => {
        const p = at[s]
        return p === undefined ? [] : [p.x + p.width / 2]
      })
      return xs.length === 0 ? width / 2 : xs.reduce((a, b) => a + b, 0) / xs.length
    }
    let x = gap.x + (width - widthOf(layer)) / 2
    let tallest = 0
    for (const i of [...layer].sort((a, b) => wish(a) - wish(b) || a - b)) {
      const size = sizes[i] as { width: number; height: number }
      at[i] = { x, y, ...size }
      x += size.width + gap.x
      tallest = Math.max(tallest, size.height)
    }
    y += tallest + gap.y
  }
  return { at, width, height: y }
}

/** The drawing as a picture of its own, without scripts and without fonts to load. */
export const svg = (drawing: Drawing): string => {
  const { at, width, height } = place(drawing)
  const middle = ({ x, width: w }: Placed): string => (x + w / 2).toFixed(1)
  const arrows = drawing.arrows.map(({ from, to }) => {
    const [a, b] = [at[from] as Placed, at[to] as Placed]
    return `  <line x1="${middle(a)}" y1="${a.y + a.height}" x2="${middle(b)}" y2="${b.y - 2}" marker-end="url(#tip)"/>`
  })
  const boxes = drawing.boxes.map(({ kind, title, lines }, i) => {
    const p = at[i] as Placed
    const { fill, line } = palette[kind]
    const texts = [title, ...lines].map((text, row) => {
      const weight = row === 0 ? ' font-weight="bold"' : ""
      return `<text x="${middle(p)}" y="${p.y + (row + 1) * lineHeight}"${weight}>${escape(text)}</text>`
    })
    const box = `<rect x="${p.x.toFixed(1)}" y="${p.y}" width="${p.width.toFixed(1)}" height="${p.height}" rx="5" fill="${fill}" stroke="${line}"/>`
    return `  <g>${box}${texts.join("")}</g>`
  })
  const [w, h] = [Math.ceil(width), Math.ceil(height)]
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${h}" viewBox="0 0 ${w} ${h}" font-family="ui-monospace, monospace" font-size="${font - 1}" text-anchor="middle">`,
    '  <defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#777"/></marker></defs>',
    `  <rect width="${w}" height="${h}" fill="#ffffff"/>`,
    '  <g stroke="#777" stroke-width="1">',
    ...arrows,
    "  </g>",
    ...boxes,
    "</svg>"
  ].join("\n")
}
