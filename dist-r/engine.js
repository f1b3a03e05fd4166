import { m as Tape } from "./precision-D37VSOAP.js";
import { o as evaluateLoss, r as accumulateGradients } from "./window-step-D77c3unF.js";
export { Tape, accumulateGradients, evaluateLoss };
