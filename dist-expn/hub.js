import {
  MODEL_FILES,
  snapshotDownload
} from "./chunk-2ASCTJQN.js";
import "./chunk-A7PJQE4O.js";
import "./chunk-KJBHL2WW.js";
import "./chunk-YI47EYXL.js";
import "./chunk-VSPP423R.js";
import "./chunk-BBRBU2CC.js";
import "./chunk-2FCRM4RN.js";
import "./chunk-HYGW4OEJ.js";
import "./chunk-VU5T6OS4.js";
import "./chunk-4SGRRHUY.js";
import "./chunk-N2SAG2IF.js";
import "./chunk-55YTAYRT.js";
export {
  MODEL_FILES,
  snapshotDownload
};
