import * as ContractionSum from "../ir/ContractionSum.ts"
import * as DType from "../ir/DType.ts"
import * as Graph from "../ir/Graph.ts"
import { isUpdate } from "../ir/KernelBody.ts"
import type { Limits } from "../ir/Limits.ts"
import type { Node, NodeOf } from "../ir/Node.ts"
import { parts } from "../ir/ops/flashAttention.ts"
import * as Shape from "../ir/Shape.ts"
import { areTwins } from "../ir/twinProducts.ts"
import { rowEnds } from "./rowEnds.ts"
import * as traits from "./traits.ts"

/**
 * Which values become kernels. Nodes are visited users first, and each either joins every kernel that uses it or becomes a
 * kernel of its own. What a kernel gives away is its root only, so kernels never wait for each other in a circle.
 */
export interface Kernel {
  /** The value the kernel writes. */
  readonly root: Node
  readonly anchor: Node | undefined
  /** Nodes the kernel computes. */
  readonly members: ReadonlySet<Node>
}

/** How a kernel reads a value. */
interface Place {
  /** An element is read for several result elements: computing it there would repeat work. */
  readonly spread: boolean
  /** Operand of a contraction or of attention, read many times from tiles: only views and casts fold into that. */
  readonly tiled: boolean
  /** Keys or values of attention, which it reads row by row: a row that is found through a table is read where it lies. */
  readonly rows: boolean
  /** The value's elements are the result's elements, one to one: an anchor may stand here, with what follows as epilogue. */
  readonly onto: boolean
  /** The value's elements are those that the sum of the kernel adds up, one to one: a contraction may stand here. */
  readonly under: boolean
  /** The views passed on the way from the root; a value reached by two ways is computed twice. */
  readonly paths: ReadonlySet<string>
}

interface Draft {
  readonly root: Node
  anchor: Node | undefined
  /** Whether it has a second anchor. */
  full: boolean
  readonly places: Map<Node, Place>
  /** Values read from buffers, as far as decided. */
  readonly operands: Set<Node>
}

/** Ways by which a kernel may reach a value that it computes anew for each: they multiply from one value to the next. */
const mostWays = 4

/** Members of one kernel: bounds the size of a shader, which a software device compiles slowly. */
const mostMembers = 96

/** Buffers of a kernel next to its result. Attention leaves room for partial results and for a second output. */
const mostOperands = (limits: Limits, anchor: Node | undefined): number =>
  limits.maxStorageBuffersPerShaderStage - (anchor?.op === "flash_attention" ? 2 : 1)

const origin: Place = {
  spread: false,
  tiled: false,
  rows: false,
  onto: true,
  under: false,
  paths: new Set([""])
}

/** Whether attention reads the operand for its keys or values alone. */
const isKeysOrValues = ({ operands, attrs }: NodeOf<"flash_attention">, operand: Node): boolean => {
  const { v, terms } = parts(operands, attrs)
  return operand === v || terms.some(({ k }) => operand === k) ? terms.every(({ q }) => operand !== q) : false
}

/** How `user`, which stands at `place`, reads its operand. */
const through = (user: Node, operand: Node, place: Place, { ids, joins, inPlace }: Facts): Place => {
  const step = (change: Partial<Place>, way = `${ids.get(user)}`): Place => ({
    ...place,
    ...change,
    paths: new Set([...place.paths].map((p) => `${p}/${way}`))
  })
  const aside = { onto: false, under: false }
  if (traits.isElementwise(user)) {
    if (Shape.equals(user.type.shape, operand.type.shape)) return place
    return traits.sameSize(user, operand) ? step(aside) : step({ ...aside, spread: true })
  }
  switch (user.op) {
    // Two views that move elements alike are one way.
    case "reshape":
      return step({}, `${Shape.print(operand.type.shape)}r${Shape.print(user.type.shape)}`)
    case "transpose":
      return step({}, `t${user.attrs.perm}`)
    case "broadcast":
      return traits.sameSize(user, operand) ? step({ under: false }) : step({ ...aside, spread: true })
    case "reduce_sum":
      return step({ onto: false, under: place.onto })
    case "concat":
      return step(joins.has(user) ? {} : aside)
    case "slice":
    case "pad":
      return step(aside)
    case "update_slice":
    case "scatter": {
      const isWritten = user.operands.lastIndexOf(operand) === 1 && user.operands[0] !== operand
      return step({
        onto: place.onto && isWritten && inPlace,
        under: false,
        spread: user.operands.indexOf(operand) > 1
      })
    }
    case "dot":
      return step({ ...aside, spread: true, tiled: true })
    case "flash_attention":
      return step({ ...aside, spread: true, tiled: true, rows: isKeysOrValues(user, operand) })
    case "softmax":
    case "layer_norm":
    case "rms_norm":
    case "cumsum":
      return { ...place, ...aside }
    case "gather":
      return step({ ...aside, spread: true, rows: place.rows && operand !== user.operands[1] })
    case "load":
    case "random_bits":
      return step({ ...aside, spread: true, rows: false })
    default:
      return step(aside)
  }
}

const merge = (a: Place | undefined, b: Place): Place =>
  a === undefined
    ? b
    : {
        spread: a.spread || b.spread,
        tiled: a.tiled || b.tiled,
        rows: a.rows && b.rows,
        onto: a.onto && b.onto,
        under: a.under && b.under,
        paths: new Set([...a.paths, ...b.paths])
      }

/** What became of contractions that are read in parts. */
export interface Parts {
  /** Concats whose parts follow contractions element by element. */
  readonly joins: ReadonlySet<Node>
  /** Contractions of which one kernel computes all. */
  readonly sets: ReadonlyArray<ReadonlySet<Node>>
}

/** Facts about values that do not depend on how they are grouped. */
interface Facts {
  readonly ids: ReadonlyMap<Node, number>
  readonly users: ReadonlyMap<Node, ReadonlyArray<Node>>
  readonly outputs: ReadonlySet<Node>
  readonly free: ReadonlySet<Node>
  /** The number of the first attention over the same operands: one kernel may give the outputs of both. */
  readonly firstOf: ReadonlyMap<Node, number>
  readonly joins: Parts["joins"]
  /** The contractions that one kernel computes with this one. */
  readonly setOf: ReadonlyMap<Node, ReadonlySet<Node>>
  /** Whether a contraction may be written straight into a tensor. */
  readonly inPlace: boolean
  /** Values that the kernel of a normalisation may end with. */
  readonly rowEnds: ReadonlyMap<Node, ReadonlySet<Node>>
}

const factsOf = (graph: Graph.Graph, { joins, sets }: Parts, limits: Limits): Facts => {
  const ids = new Map(graph.nodes.map((n, i) => [n, i] as const))
  const firsts = new Map<string, number>()
  const firstOf = new Map<Node, number>()
  graph.nodes.forEach((node, id) => {
    if (node.op !== "flash_attention") return
    const key = node.operands.map((o) => ids.get(o)).join()
    const first = firsts.get(key)
    if (first === undefined) firsts.set(key, id)
    else firstOf.set(node, first)
  })
  return {
    ids,
    users: Graph.users(graph),
    outputs: new Set(graph.outputs.map((o) => o.node)),
    free: traits.freeValues(graph),
    firstOf,
    joins,
    setOf: new Map(sets.flatMap((set) => [...set].map((dot) => [dot, set] as const))),
    inPlace: limits.productsInPlace === true,
    rowEnds: limits.rowEpilogues === true ? rowEnds(graph) : new Map()
  }
}

/**
 * The anchor that a kernel which ends with this elementwise value could begin with: one is reached by steps that keep
 * elements one to one, and nothing else uses what lies between.
 */
const anchorBehind = (end: Node, facts: Facts): Node | undefined => {
  const reached = new Set<Node>([end])
  const waiting = new Set<Node>(end.operands)
  while (waiting.size > 0 && reached.size < mostMembers) {
    // Users come before operands, so the latest value has all the users it can get.
    const node = [...waiting].reduce((a, b) =>
      (facts.ids.get(a) as number) > (facts.ids.get(b) as number) ? a : b
    )
    waiting.delete(node)
    const users = facts.users.get(node) ?? []
    const onto = (user: Node): boolean =>
      reached.has(user) && (!traits.isElementwise(user) || Shape.equals(user.type.shape, node.type.shape))
    if (facts.outputs.has(node) || !users.every(onto)) continue
    if (traits.isAnchor(node)) return node
    const moves = node.op === "reshape" || node.op === "transpose" || facts.joins.has(node)
    if (!traits.isElementwise(node) && !moves) continue
    reached.add(node)
    for (const o of node.operands) waiting.add(o)
  }
  return undefined
}

/** Whether this contraction and the kernel's are of one operand, and can be computed side by side. */
const pairs = (draft: Draft, place: Place, dot: Node, limits: Limits, { setOf }: Facts): boolean => {
  const { anchor, full } = draft
  if (limits.twinProducts !== true || !place.onto || anchor === undefined) return false
  return setOf.get(anchor)?.has(dot) === true || (!full && areTwins(anchor, dot))
}

/** Whether the kernel is a sum, and this the contraction whose elements it adds up, each passed through a function. */
const sums = (draft: Draft, place: Place, dot: Node): boolean =>
  place.under && draft.anchor !== undefined && ContractionSum.of(draft.anchor, dot) !== undefined

/** Whether the kernel can have this anchor: only contractions are written into tensors. */
const isWritable = ({ root }: Draft, anchor: Node): boolean => !isUpdate(root) || anchor.op === "dot"

/** Whether the kernel computes its result, or what it writes into a tensor, row by row of this normalisation. */
const endsRows = ({ root }: Draft, anchor: Node, { rowEnds }: Facts): boolean =>
  rowEnds.get(anchor)?.has(isUpdate(root) ? (root.operands[1] as Node) : root) === true

/** A cast that makes a value smaller belongs to the kernel that computes the value: less is written and read. */
const narrows = (node: Node, facts: Facts): boolean => {
  const operand = node.operands[0]
  if (node.op !== "cast" || operand === undefined || traits.isGiven(operand) || facts.free.has(operand))
    return false
  const smaller = DType.deviceBytes[node.type.dtype] < DType.deviceBytes[operand.type.dtype]
  return smaller && facts.users.get(operand)?.length === 1 && !facts.outputs.has(operand)
}

/** Made by one instruction of values that have fewer elements, such as angles of positions and frequencies: reading them costs less. */
const widens = (node: Node, facts: Facts): boolean =>
  traits.isElementwise(node) &&
  traits.isCheap(node) &&
  node.operands.every((o) => facts.free.has(o) || traits.isSmaller(o, node))

/** Whether every kernel that uses the value may compute it for itself. Bits that are counted, and places around a value, cost less than to read them. */
const repeats = (node: Node, facts: Facts): boolean =>
  traits.isView(node) ||
  node.op === "pad" ||
  widens(node, facts) ||
  facts.free.has(node) ||
  node.op === "random_bits" ||
  (node.op === "cast" && !narrows(node, facts)) ||
  (traits.isElementwise(node) && traits.isSingle(node))

/** Ops that fold into the addressing and loading of a tile. */
const foldsIntoTile = (node: Node): boolean =>
  traits.isView(node) || node.op === "cast" || node.op === "random_bits" || traits.isSource(node)

/** Whole rows of a tensor at positions that are data: pages through their table, kept sequences of a beam. */
const findsRows = (node: Node): boolean =>
  node.op === "gather" && node.attrs.axis < (node.operands[0] as Node).type.shape.length - 1

/** Decides the kernels of a graph; roots in the order of the graph's nodes. */
export const group = (
  graph: Graph.Graph,
  limits: Limits,
  parts: Parts = { joins: new Set(), sets: [] }
): ReadonlyArray<Kernel> => {
  const facts = factsOf(graph, parts, limits)
  const drafts: Array<Draft> = []
  /** The kernels that compute a node. */
  const kernelsOf = new Map<Node, ReadonlyArray<Draft>>()

  /** What is read for values that are not there yet: views fold into their reader, and a contraction of parts into the kernel of the others. */
  const readsOf = (nodes: ReadonlyArray<Node>): ReadonlyArray<Node> =>
    nodes
      .filter((node) => !facts.free.has(node))
      .map(traits.behindViews)
      .flatMap((node) => (facts.setOf.has(node) ? node.operands.map(traits.behindViews) : [node]))

  const begin = (node: Node, readers: Iterable<Draft> = []): void => {
    for (const reader of readers) reader.operands.add(node)
    const draft: Draft = {
      root: node,
      anchor: traits.isAnchor(node) ? node : undefined,
      full: false,
      places: new Map([[node, origin]]),
      operands: new Set(readsOf(node.operands))
    }
    drafts.push(draft)
    kernelsOf.set(node, [draft])
  }

  const placesOf = (node: Node): ReadonlyMap<Draft, Place> => {
    const places = new Map<Draft, Place>()
    for (const user of facts.users.get(node) ?? []) {
      for (const draft of kernelsOf.get(user) ?? []) {
        const place = through(user, node, draft.places.get(user) as Place, facts)
        places.set(draft, merge(places.get(draft), place))
      }
    }
    return places
  }

  const operandsWith = (draft: Draft, node: Node): ReadonlySet<Node> => {
    const operands = new Set([...draft.operands, ...readsOf(node.operands)])
    operands.delete(node)
    return operands
  }

  const fits = (draft: Draft, node: Node): boolean => {
    const anchor = traits.isAnchor(node) ? node : draft.anchor
    const count = operandsWith(draft, node).size
    return (
      draft.places.size < mostMembers &&
      (count <= mostOperands(limits, anchor) || (anchor === draft.anchor && count <= draft.operands.size))
    )
  }

  const join = (node: Node, places: ReadonlyMap<Draft, Place>): void => {
    for (const [draft, place] of places) {
      const operands = operandsWith(draft, node)
      draft.operands.clear()
      for (const o of operands) draft.operands.add(o)
      draft.places.set(node, place)
      if (!traits.isAnchor(node)) continue
      draft.full = draft.anchor !== undefined
      draft.anchor = node
    }
    kernelsOf.set(node, [...places.keys()])
  }

  const follows = (draft: Draft, place: Place, anchor: Node): boolean =>
    sums(draft, place, anchor) || pairs(draft, place, anchor, limits, facts)

  const mayJoin = (node: Node, places: ReadonlyMap<Draft, Place>): boolean => {
    const entries = [...places]
    if (!entries.every(([draft]) => fits(draft, node))) return false
    if (findsRows(node) && entries.every(([, place]) => place.rows)) return true
    if (repeats(node, facts)) {
      return entries.every(
        ([, place]) =>
          (!place.tiled || foldsIntoTile(node)) && (node.operands.length < 2 || place.paths.size <= mostWays)
      )
    }
    const [draft, place] = entries[0] as [Draft, Place]
    // The target of an in-place update is a buffer.
    if (entries.length > 1 || place.tiled || isUpdate(node)) return false
    // What reads later values cannot be computed with the first attention over the same operands.
    const first = facts.firstOf.get(node)
    const isLater = (o: Node): boolean => (facts.ids.get(o) as number) > (first as number)
    if (first !== undefined && [...operandsWith(draft, node)].some(isLater)) return false
    const begins = (anchor: Node): boolean =>
      draft.anchor === undefined
        ? (place.onto && isWritable(draft, anchor)) || endsRows(draft, anchor, facts)
        : follows(draft, place, anchor)
    if (traits.isAnchor(node)) return (place.paths.size === 1 || endsRows(draft, node, facts)) && begins(node)
    const repeated = place.spread || place.paths.size > 1
    if (repeated && !(traits.isElementwise(node) && traits.isCheap(node))) return false
    if (place.paths.size > mostWays) return false
    // Where its anchor cannot follow into this kernel, it stays with its anchor instead of being computed per pass here.
    if (place.onto && draft.anchor === undefined && !isUpdate(draft.root)) return true
    const behind = anchorBehind(node, facts)
    return behind === undefined || begins(behind)
  }

  for (const node of [...graph.nodes].reverse()) {
    if (traits.isGiven(node)) continue
    if (facts.outputs.has(node)) {
      // A repeated constant is an output as it stands.
      if (node.op !== "constant") begin(node)
      continue
    }
    const places = placesOf(node)
    if (traits.isSource(node) || mayJoin(node, places)) join(node, places)
    else begin(node, places.keys())
  }
  return drafts
    .reverse()
    .map(({ root, anchor, places }) => ({ root, anchor, members: new Set(places.keys()) }))
}
