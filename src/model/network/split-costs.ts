/** Costs of passes over several devices: as for one, but a pass must fit on each of them beside what lies there. */
import type { PackedSize } from '../../batch/packed-window.js';
import type { Engine, EngineDevice } from '../../engine/engine.js';
import type { Precision } from '../../engine/operations.js';
import { largestPass } from '../../engine/reserve.js';
import type { ModelConfig } from '../model-config.js';
import type { RecomputedLayers } from './layers.js';
import type { ModelModules } from './modules.js';
import { PassCosts, type PeakParts } from './pass-costs.js';

interface DeviceCosts {
  readonly costs: PassCosts;
  /** How many bytes less a pass may take here than on the device that `Engine.memory()` is of. */
  readonly tighterBy: number;
}

/**
 * `peakBytes` are those of the device that has the least room for them, counted as if it had as much as the one that
 * `Engine.memory()` is of: a pass fits that one's free memory if, and only if, it fits on all of them.
 */
export class SplitCosts extends PassCosts {
  readonly #devices: readonly DeviceCosts[];

  /** @param memoryBudget most bytes of each device, if that is less than its own limit */
  constructor(
    config: ModelConfig,
    modules: ModelModules,
    engine: Pick<Engine, 'storage' | 'memory'>,
    devices: readonly EngineDevice[],
    precision?: Precision,
    memoryBudget = Number.POSITIVE_INFINITY,
  ) {
    super(config, modules, engine.storage, precision);
    const room = ({ storage, memory }: Pick<EngineDevice, 'storage' | 'memory'>): number => {
      const { bytesInUse, limitBytes, overheadBytes = 0 } = memory();
      return largestPass(storage, Math.min(limitBytes, memoryBudget - overheadBytes) - bytesInUse);
    };
    const counted = room({ storage: engine.storage, memory: () => engine.memory() });
    this.#devices = devices.map((device) => ({
      costs: new PassCosts(config, modules, device.storage, precision, (weight) => device.holds(weight)),
      tighterBy: counted - room({ storage: device.storage, memory: () => device.memory() }),
    }));
  }

  override peakBytes(size: PackedSize, recompute: RecomputedLayers): number {
    return this.#tightest(size, recompute).bytes;
  }

  override partsOf(size: PackedSize, recompute: RecomputedLayers): PeakParts {
    return this.#tightest(size, recompute).costs.partsOf(size, recompute);
  }

  #tightest(size: PackedSize, recompute: RecomputedLayers): { readonly costs: PassCosts; readonly bytes: number } {
    const all = this.#devices.map(({ costs, tighterBy }) => ({
      costs,
      bytes: costs.peakBytes(size, recompute) + tighterBy,
    }));
    return all.reduce((most, each) => (each.bytes > most.bytes ? each : most));
  }
}
