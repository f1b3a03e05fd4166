import {
  SafetensorsFile,
  ShardedCheckpoint,
  writeSafetensors
} from "./chunk-PAQI2PBC.js";
import "./chunk-K6IUIOJN.js";
import "./chunk-BBRBU2CC.js";
import "./chunk-2FCRM4RN.js";
import "./chunk-HYGW4OEJ.js";
import "./chunk-VU5T6OS4.js";
import "./chunk-4SGRRHUY.js";
import "./chunk-N2SAG2IF.js";
import "./chunk-55YTAYRT.js";
export {
  SafetensorsFile,
  ShardedCheckpoint,
  writeSafetensors
};
