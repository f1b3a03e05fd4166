/** Device memory from the driver: by mapping pieces into reserved addresses, or in slabs where that is missing. */
import type { CudaDriver } from './driver.js';
import { outHandle } from './library-search.js';
import type { PhysicalMemory } from './memory.js';

/** CU_MEM_ALLOCATION_TYPE_PINNED and CU_MEM_LOCATION_TYPE_DEVICE */
const PINNED = 1;
const DEVICE = 1;
const READ_WRITE = 3;

/** The driver's virtual memory API. Source: CUDA Driver API, "Virtual Memory Management". */
class VirtualMemory implements PhysicalMemory {
  readonly isVirtual = true;
  readonly granularity: number;
  readonly #driver: CudaDriver;
  /** CUmemAllocationProp: type, handle types, location (type, id), then zeros. */
  readonly #properties: Int32Array;
  /** CUmemAccessDesc: location (type, id), flags. */
  readonly #access: Int32Array;
  readonly #ranges: { address: number; bytes: number }[] = [];

  constructor(driver: CudaDriver) {
    this.#driver = driver;
    const { ordinal } = driver.device;
    this.#properties = Int32Array.of(PINNED, 0, DEVICE, ordinal, 0, 0, 0, 0);
    this.#access = Int32Array.of(DEVICE, ordinal, READ_WRITE);
    const types = ['void*', 'void*', 'int'];
    this.granularity = outHandle((out) =>
      driver.call('cuMemGetAllocationGranularity', types, out, this.#properties, 0),
    );
  }

  reserve(bytes: number): number {
    const size = Math.ceil(bytes / this.granularity) * this.granularity;
    const types = ['void*', 'size_t', 'size_t', 'uint64', 'uint64'];
    const address = outHandle((out) => this.#driver.call('cuMemAddressReserve', types, out, size, 0, 0, 0));
    this.#ranges.push({ address, bytes: size });
    return address;
  }

  map(address: number, bytes: number): { address: number; handle: number } {
    const types = ['void*', 'size_t', 'void*', 'uint64'];
    const handle = outHandle((out) => this.#driver.call('cuMemCreate', types, out, bytes, this.#properties, 0));
    this.#attach(handle, address, bytes);
    return { address, handle };
  }

  move(handle: number, from: number, to: number, bytes: number): void {
    this.#driver.call('cuMemUnmap', ['uint64', 'size_t'], from, bytes);
    this.#attach(handle, to, bytes);
  }

  release({ address, handle, bytes }: { address: number; handle: number; bytes: number }): void {
    this.#driver.call('cuMemUnmap', ['uint64', 'size_t'], address, bytes);
    this.#driver.call('cuMemRelease', ['uint64'], handle);
  }

  dispose(): void {
    for (const { address, bytes } of this.#ranges.splice(0)) {
      this.#driver.call('cuMemAddressFree', ['uint64', 'size_t'], address, bytes);
    }
  }

  synchronize(): void {
    this.#driver.synchronize();
    this.#driver.synchronize(this.#driver.copyStream);
  }

  memoryInfo(): { free: number; total: number } {
    return this.#driver.memoryInfo();
  }

  #attach(handle: number, address: number, bytes: number): void {
    const types = ['uint64', 'size_t', 'size_t', 'uint64', 'uint64'];
    this.#driver.call('cuMemMap', types, address, bytes, 0, handle, 0);
    this.#driver.call('cuMemSetAccess', ['uint64', 'size_t', 'void*', 'size_t'], address, bytes, this.#access, 1);
  }
}

class SlabMemory implements PhysicalMemory {
  readonly isVirtual = false;
  readonly granularity = 2 << 20;
  readonly #driver: CudaDriver;

  constructor(driver: CudaDriver) {
    this.#driver = driver;
  }

  reserve(): number {
    return 0;
  }

  map(_address: number, bytes: number): { address: number; handle: number } {
    const address = this.#driver.allocate(bytes);
    return { address, handle: address };
  }

  move(): void {
    throw new Error('slabs do not move');
  }

  release({ address }: { address: number }): void {
    this.#driver.free(address);
  }

  dispose(): void {
    // Slabs are all that there was.
  }

  synchronize(): void {
    this.#driver.synchronize();
  }

  memoryInfo(): { free: number; total: number } {
    return this.#driver.memoryInfo();
  }
}

export function physicalMemory(driver: CudaDriver): PhysicalMemory {
  return driver.device.hasVirtualMemory ? new VirtualMemory(driver) : new SlabMemory(driver);
}
