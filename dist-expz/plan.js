import {
  formatTrainingPlan,
  plan
} from "./chunk-4XLNE6D5.js";
import "./chunk-CHJKEWWW.js";
import "./chunk-YB7V54UV.js";
import "./chunk-QR6VXHQ7.js";
import "./chunk-UOSWHUDW.js";
import "./chunk-GTZ73MKH.js";
import "./chunk-3MXQC5JZ.js";
import "./chunk-7D3OSI6H.js";
import "./chunk-QIYEZVUS.js";
import "./chunk-IH2E5KFM.js";
import "./chunk-UFZALDDD.js";
import "./chunk-PZHVR3IO.js";
import "./chunk-PO2ER5US.js";
import "./chunk-IKDNPGDK.js";
import "./chunk-YNRS6QOQ.js";
import "./chunk-D7N36RM3.js";
import "./chunk-BAPLHSQJ.js";
import "./chunk-PXMY47J6.js";
import "./chunk-KJBHL2WW.js";
import "./chunk-SNHGLKYO.js";
import "./chunk-VSPP423R.js";
import "./chunk-BBRBU2CC.js";
import "./chunk-2UUUWPES.js";
import "./chunk-HQ42KN2I.js";
import "./chunk-MJNFEJIN.js";
import "./chunk-D2LTRNTC.js";
import "./chunk-2FCRM4RN.js";
import "./chunk-L4JCJ4WG.js";
import "./chunk-CBKZZ4JE.js";
import "./chunk-WVPKETS6.js";
import "./chunk-AFLAU3PL.js";
import "./chunk-W56OYVUJ.js";
import "./chunk-4SGRRHUY.js";
import "./chunk-AQMU4HCF.js";
import "./chunk-NY3EPE2R.js";
import "./chunk-VP2QJLUM.js";
export {
  formatTrainingPlan,
  plan
};
