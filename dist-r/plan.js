export { n as formatTrainingPlan, t as plan } from "./plan-CO1I4Pb_.js";
