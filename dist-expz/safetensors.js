import {
  SafetensorsFile,
  ShardedCheckpoint,
  writeSafetensors
} from "./chunk-YNRS6QOQ.js";
import "./chunk-D7N36RM3.js";
import "./chunk-BBRBU2CC.js";
import "./chunk-2FCRM4RN.js";
import "./chunk-CBKZZ4JE.js";
import "./chunk-WVPKETS6.js";
import "./chunk-4SGRRHUY.js";
import "./chunk-NY3EPE2R.js";
import "./chunk-VP2QJLUM.js";
export {
  SafetensorsFile,
  ShardedCheckpoint,
  writeSafetensors
};
