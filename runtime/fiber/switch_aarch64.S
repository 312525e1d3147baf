/* switch_aarch64.S: void fiber_switch(void **save, void *to), and where a new fiber begins.
 *
 * Saves what a call must preserve in AAPCS64: x19-x30, d8-d15, and the floating-point control register. `*save` receives
 * the stack pointer of the side that is left; `to` is one that was saved so, or made by stack_prepare:
 *
 *   sp -> x19..x30 (12 words), d8..d15 (8 words), fpcr, padding */
#define FRAME 176

    .text
    .globl fiber_switch
    .hidden fiber_switch
    .type fiber_switch, %function
    .p2align 4
fiber_switch:
    .cfi_startproc
    hint #34 /* bti c */
    sub sp, sp, #FRAME
    .cfi_adjust_cfa_offset FRAME
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mrs x9, fpcr
    str x9, [sp, #160]
    mov x10, sp
    str x10, [x0]
    mov sp, x1
    /* Writing fpcr is slow and it is nearly always the same on both sides. */
    ldr x10, [sp, #160]
    cmp x9, x10
    b.eq 1f
    msr fpcr, x10
1:  ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #FRAME
    .cfi_adjust_cfa_offset -FRAME
    ret
    .cfi_endproc
    .size fiber_switch, .-fiber_switch

/* The first switch to a new stack lands here, with the fiber in x19. */
    .globl fiber_entry
    .hidden fiber_entry
    .type fiber_entry, %function
    .p2align 4
fiber_entry:
    .cfi_startproc
    .cfi_undefined x30 /* backtraces end here */
    hint #36 /* bti j */
    mov x29, #0
    mov x30, #0
    mov x0, x19
    bl fiber_main
    brk #1
    .cfi_endproc
    .size fiber_entry, .-fiber_entry
    .section .note.GNU-stack, "", %progbits
