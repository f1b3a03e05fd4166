import {
  formatTrainingPlan,
  plan
} from "./chunk-5VHCVZZS.js";
import "./chunk-IEMHD55E.js";
import "./chunk-YB7V54UV.js";
import "./chunk-IKTGOZ7X.js";
import "./chunk-GRMVVBZU.js";
import "./chunk-L7P565ON.js";
import "./chunk-WDIWWTAP.js";
import "./chunk-TDTBSBKW.js";
import "./chunk-VFH7E2AA.js";
import "./chunk-IH2E5KFM.js";
import "./chunk-KDLJ5W55.js";
import "./chunk-HGMOXDPT.js";
import "./chunk-DZ77V5X3.js";
import "./chunk-IKDNPGDK.js";
import "./chunk-PAQI2PBC.js";
import "./chunk-K6IUIOJN.js";
import "./chunk-2ASCTJQN.js";
import "./chunk-A7PJQE4O.js";
import "./chunk-KJBHL2WW.js";
import "./chunk-YI47EYXL.js";
import "./chunk-VSPP423R.js";
import "./chunk-BBRBU2CC.js";
import "./chunk-H6FPVXEN.js";
import "./chunk-HQ42KN2I.js";
import "./chunk-7KTYTFUM.js";
import "./chunk-D2LTRNTC.js";
import "./chunk-2FCRM4RN.js";
import "./chunk-7IZMHX3X.js";
import "./chunk-HYGW4OEJ.js";
import "./chunk-VU5T6OS4.js";
import "./chunk-AFLAU3PL.js";
import "./chunk-LWDR4SPD.js";
import "./chunk-4SGRRHUY.js";
import "./chunk-AQMU4HCF.js";
import "./chunk-N2SAG2IF.js";
import "./chunk-55YTAYRT.js";
export {
  formatTrainingPlan,
  plan
};
