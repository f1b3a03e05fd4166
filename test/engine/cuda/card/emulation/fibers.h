// Threads of an emulated block: fibers that hand the processor on where they wait for one another. A switch by hand on
// x86-64, as swapcontext asks the kernel for signal masks each time, which takes longer than all else here.
#pragma once
#include <cstddef>
#include <cstdint>
#if defined(__x86_64__)
struct Context { void* stack; };
extern "C" void switch_stacks(void** from, void* to);
asm(R"(
.text
.hidden switch_stacks
.globl switch_stacks
.type switch_stacks,@function
switch_stacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");
static inline void switch_to(Context& from, Context& to) { switch_stacks(&from.stack, to.stack); }
/** A context that begins with `entry`, which never returns. */
static inline void start(Context& context, char* memory, size_t bytes, void (*entry)()) {
  void** top = (void**)((uintptr_t)(memory + bytes) & ~(uintptr_t)15);
  *--top = nullptr;
  *--top = (void*)entry;
  for (int i = 0; i < 6; i++) *--top = nullptr;
  context.stack = top;
}
#else
#include <ucontext.h>
struct Context { ucontext_t inner; };
static inline void switch_to(Context& from, Context& to) { swapcontext(&from.inner, &to.inner); }
static inline void start(Context& context, char* memory, size_t bytes, void (*entry)()) {
  getcontext(&context.inner);
  context.inner.uc_stack.ss_sp = memory;
  context.inner.uc_stack.ss_size = bytes;
  context.inner.uc_link = nullptr;
  makecontext(&context.inner, entry, 0);
}
#endif
