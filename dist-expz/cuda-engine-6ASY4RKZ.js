import {
  CudaEngine,
  createCudaEngine,
  requireCudaOptions
} from "./chunk-CHJKEWWW.js";
import "./chunk-YB7V54UV.js";
import "./chunk-QR6VXHQ7.js";
import "./chunk-7D3OSI6H.js";
import "./chunk-PO2ER5US.js";
import "./chunk-D7N36RM3.js";
import "./chunk-VSPP423R.js";
import "./chunk-W56OYVUJ.js";
import "./chunk-NY3EPE2R.js";
import "./chunk-VP2QJLUM.js";
export {
  CudaEngine,
  createCudaEngine,
  requireCudaOptions
};
