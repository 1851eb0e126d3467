import { Mask } from "../../src/index.ts"
import { untiled } from "./canvas.ts"
import { exhibit } from "./exhibit.ts"
import { neighborhood } from "./neighborhood.ts"

export const attention = exhibit({
  about:
    "The same window where the picture is stored tile by tile, so that neighbours are near in memory. attention-gym, natten",
  mask: () => Mask.reindex(neighborhood([4, 6], [3, 3]), untiled([4, 6], [2, 3])),
  lengths: { T: 24 }
})
