export { t as MODEL_FILES, i as snapshotDownload } from "./snapshot-download-D96EO7UI.js";
