export { i as SafetensorsFile, a as ShardedCheckpoint, c as writeSafetensors } from "./safetensors-Cc_Zl7Xi.js";
