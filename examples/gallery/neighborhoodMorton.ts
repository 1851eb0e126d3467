import { Mask } from "../../src/index.ts"
import { unzipped } from "./canvas.ts"
import { exhibit } from "./exhibit.ts"
import { neighborhood } from "./neighborhood.ts"

export const attention = exhibit({
  about:
    "A window of 3×3 where a picture of 4×4 is stored along a Z-shaped curve. Morton 1966; attention-gym, natten",
  mask: () => Mask.reindex(neighborhood([4, 4], [3, 3]), unzipped(2)),
  lengths: { T: 16 }
})
