import { Mask, Tensor } from "../../src/index.ts"
import { coordinate } from "./canvas.ts"
import { exhibit } from "./exhibit.ts"

/** On a canvas of any number of axes: a window of odd size around the query, moved inside where it would reach over an edge. */
export const neighborhood = (canvas: ReadonlyArray<number>, window: ReadonlyArray<number>) =>
  canvas
    .map((size, axis) => {
      const reach = Math.floor((window[axis] as number) / 2)
      return Mask.keepWhere(({ query, key }) => {
        const [own, other] = [coordinate(query, canvas, axis), coordinate(key, canvas, axis)]
        const center = Tensor.clip(own, { low: reach, high: size - 1 - reach })
        return Tensor.le(Tensor.abs(Tensor.sub(center, other)), reach)
      })
    })
    .reduce((a, b) => Mask.and(a, b))

export const attention = exhibit({
  about: "A window of 3×3 in a picture of 4×6. NATTEN, Hassani et al. 2023, arXiv 2204.07143",
  mask: () => neighborhood([4, 6], [3, 3]),
  lengths: { T: 24 }
})
