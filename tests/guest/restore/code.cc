// SPDX-License-Identifier: GPL-2.0
//
// The page of code that the restored processes run. It can stand anywhere and uses fixed addresses (places.hh); each check
// that fails ends the process with its own status, so that a test says which one.
#include "places.hh"

// Everything is in one section, one page, and never called from here.
asm(R"(
	.pushsection .rodata.probe, "a"
	.balign 4096
	.globl krg_probe_code, krg_probe_second, krg_probe_other, krg_probe_handler, krg_probe_restorer, krg_probe_end

	.macro fail_unless_equal status
	je	1f
	mov	$\status, %edi
	mov	$231, %eax
	syscall
1:
	.endm

	# The leader: registers first, before any is used.
krg_probe_code:
	cmp	%r15, 0x20000100
	fail_unless_equal 1
	cmp	%r14, 0x20000108
	fail_unless_equal 2
	cmp	%r13, 0x20000110
	fail_unless_equal 3
	cmp	%r12, 0x20000118
	fail_unless_equal 4
	cmp	%rbp, 0x20000120
	fail_unless_equal 5
	cmp	%rbx, 0x20000128
	fail_unless_equal 6
	cmp	%r11, 0x20000130
	fail_unless_equal 7
	cmp	%r10, 0x20000138
	fail_unless_equal 8
	cmp	%r9, 0x20000140
	fail_unless_equal 9
	cmp	%r8, 0x20000148
	fail_unless_equal 10
	cmp	%rax, 0x20000150
	fail_unless_equal 11
	cmp	%rcx, 0x20000158
	fail_unless_equal 12
	cmp	%rdx, 0x20000160
	fail_unless_equal 13
	cmp	%rsi, 0x20000168
	fail_unless_equal 14
	cmp	%rdi, 0x20000170
	fail_unless_equal 15
	mov	%fs:0, %rax
	cmp	%rax, 0x20000178
	fail_unless_equal 16
	movq	%xmm7, %rax
	cmp	%rax, 0x20000180
	fail_unless_equal 17
	stmxcsr	-64(%rsp)
	mov	-64(%rsp), %eax
	cmp	%eax, 0x20000188
	fail_unless_equal 18
	# Shared memory that may be read only.
	mov	0x30000000, %eax
	cmp	%rax, 0x20000190
	fail_unless_equal 19
	# What is in a page without access is there when it has some.
	mov	$10, %eax
	mov	$0x20004000, %edi
	mov	$4096, %esi
	mov	$1, %edx
	syscall
	test	%rax, %rax
	fail_unless_equal 20
	mov	0x20004000, %rax
	cmp	%rax, 0x20000198
	fail_unless_equal 21
	# The stack grows.
	movq	$5, -0x10000(%rsp)
	cmpq	$5, -0x10000(%rsp)
	fail_unless_equal 22
	# The heap ends where it ended.
	mov	$12, %eax
	xor	%edi, %edi
	syscall
	cmp	%rax, 0x200001a0
	fail_unless_equal 23
	# SIGUSR1 has a handler, on the alternate stack. Sent to this thread: the other one could take it else.
	mov	$39, %eax
	syscall
	mov	%eax, %edi
	mov	%eax, %esi
	mov	$10, %edx
	mov	$234, %eax
	syscall
	cmpq	$1, 0x20000300
	fail_unless_equal 24
	mov	0x20000308, %rax
	sub	$0x20002000, %rax
	shr	$12, %rax
	test	%rax, %rax
	fail_unless_equal 25
	# The second thread says that it has slept; its end clears a word.
2:	cmpl	$0, 0x20000400
	jne	3f
	mov	$202, %eax
	mov	$0x20000400, %edi
	xor	%esi, %esi
	xor	%edx, %edx
	xor	%r10d, %r10d
	syscall
	jmp	2b
3:	cmpl	$1, 0x20000400
	fail_unless_equal 26
4:	mov	$24, %eax
	syscall
	cmpl	$0, 0x20000408
	jne	4b
	# The other process writes into the memory they share, through its own mapping.
5:	mov	$24, %eax
	syscall
	cmpl	$5, 0x30000008
	jne	5b
	mov	$42, %edi
	mov	$231, %eax
	syscall

	# The second thread: what a nanosleep with some time left ends with.
krg_probe_second:
	syscall
	mov	%eax, 0x20000404
	mov	$1, %ecx
	test	%eax, %eax
	jz	6f
	mov	$2, %ecx
6:	cmp	%rbx, 0x20000128
	je	7f
	mov	$3, %ecx
7:	mov	%ecx, 0x20000400
	mov	$202, %eax
	mov	$0x20000400, %edi
	mov	$1, %esi
	mov	$1, %edx
	syscall
	xor	%edi, %edi
	mov	$60, %eax
	syscall

	# The other process: a page that both had since fork, and the shared memory.
krg_probe_other:
	mov	0x20001008, %rax
	cmp	%rax, 0x50000008
	fail_unless_equal 31
	movl	$5, 0x30000008
	mov	$42, %edi
	mov	$231, %eax
	syscall

krg_probe_handler:
	incq	0x20000300
	mov	%rsp, 0x20000308
	ret
krg_probe_restorer:
	mov	$15, %eax
	syscall
krg_probe_end:
	.balign 4096
	.popsection
)");
