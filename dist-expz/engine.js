import {
  accumulateGradients,
  evaluateLoss
} from "./chunk-HIW2EB6K.js";
import {
  Tape
} from "./chunk-UFZALDDD.js";
import "./chunk-PZHVR3IO.js";
import "./chunk-PO2ER5US.js";
import "./chunk-IKDNPGDK.js";
import "./chunk-D7N36RM3.js";
import "./chunk-VSPP423R.js";
import "./chunk-D2LTRNTC.js";
import "./chunk-2FCRM4RN.js";
import "./chunk-AFLAU3PL.js";
import "./chunk-W56OYVUJ.js";
import "./chunk-NY3EPE2R.js";
import "./chunk-VP2QJLUM.js";
export {
  Tape,
  accumulateGradients,
  evaluateLoss
};
