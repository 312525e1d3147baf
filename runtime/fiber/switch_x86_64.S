/* switch_x86_64.S: void fiber_switch(void **save, void *to), and where a new fiber begins.
 *
 * Saves what a call must preserve in the System V ABI: rbx, rbp, r12-r15, the SSE control word and the x87 control word.
 * `*save` receives the stack pointer of the side that is left; `to` is one that was saved so, or made by stack_prepare:
 *
 *   sp -> control words, r15, r14, r13, r12, rbx, rbp, return address
 *
 * Both symbols start with endbr64 for indirect-branch tracking. Shadow stacks are not switched, so this file must not
 * carry the SHSTK property; the linker then leaves it off for the whole library. */
    .text
    .globl fiber_switch
    .hidden fiber_switch
    .type fiber_switch, @function
    .p2align 4
fiber_switch:
    .cfi_startproc
    endbr64
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    pushq %r12
    .cfi_adjust_cfa_offset 8
    pushq %r13
    .cfi_adjust_cfa_offset 8
    pushq %r14
    .cfi_adjust_cfa_offset 8
    pushq %r15
    .cfi_adjust_cfa_offset 8
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    movl (%rsp), %eax
    movzwl 4(%rsp), %ecx
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    /* Loading control words is slow and they are nearly always the same on both sides. */
    cmpl %eax, (%rsp)
    jne 2f
    cmpw %cx, 4(%rsp)
    jne 2f
1:  addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    popq %r15
    .cfi_adjust_cfa_offset -8
    popq %r14
    .cfi_adjust_cfa_offset -8
    popq %r13
    .cfi_adjust_cfa_offset -8
    popq %r12
    .cfi_adjust_cfa_offset -8
    popq %rbx
    .cfi_adjust_cfa_offset -8
    popq %rbp
    .cfi_adjust_cfa_offset -8
    /* Not ret: the processor predicts it to go back to where fiber_switch was called on this side, which is wrong, and
     * costs 20 ns a pair. notrack, because code behind a call does not begin with endbr64. */
    popq %rcx
    .cfi_adjust_cfa_offset -8
    .cfi_register %rip, %rcx
    notrack jmp *%rcx
    .cfi_adjust_cfa_offset 64
    .cfi_offset %rip, -8
2:  ldmxcsr (%rsp)
    fldcw 4(%rsp)
    jmp 1b
    .cfi_endproc
    .size fiber_switch, .-fiber_switch

/* The first switch to a new stack lands here, with the fiber in r12. */
    .globl fiber_entry
    .hidden fiber_entry
    .type fiber_entry, @function
    .p2align 4
fiber_entry:
    .cfi_startproc
    .cfi_undefined rip /* backtraces end here */
    endbr64
    xorl %ebp, %ebp
    movq %r12, %rdi
    call fiber_main
    ud2
    .cfi_endproc
    .size fiber_entry, .-fiber_entry
    .section .note.GNU-stack, "", @progbits
