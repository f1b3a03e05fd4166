import {
  accumulateGradients,
  evaluateLoss
} from "./chunk-TBQ3UDN5.js";
import {
  Tape
} from "./chunk-KDLJ5W55.js";
import "./chunk-HGMOXDPT.js";
import "./chunk-DZ77V5X3.js";
import "./chunk-IKDNPGDK.js";
import "./chunk-K6IUIOJN.js";
import "./chunk-VSPP423R.js";
import "./chunk-D2LTRNTC.js";
import "./chunk-2FCRM4RN.js";
import "./chunk-AFLAU3PL.js";
import "./chunk-LWDR4SPD.js";
import "./chunk-N2SAG2IF.js";
import "./chunk-55YTAYRT.js";
export {
  Tape,
  accumulateGradients,
  evaluateLoss
};
