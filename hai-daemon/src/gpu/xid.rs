//! XID numbers: what NVIDIA's driver calls the errors of a GPU, and whose fault each of them is.
//!
//! After NVIDIA's "Xid Errors" (docs.nvidia.com/deploy/xid-errors, the catalogue with its resolution buckets, and the
//! older table of causes) and its "GPU Memory Error Management". A bucket RESTART_APP is the program's fault here,
//! RESET_GPU and RESTART_BM are the hardware's.

/// What an XID asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The program did something wrong, or was told to go; the GPU is well.
    Program,
    /// Worth a line in the log, and nothing else.
    Note,
    /// It may be the hardware: no new work for a while, and if it comes again the work there leaves.
    Doubt,
    /// The hardware made an error that only a reset mends; what runs goes on meanwhile as long as it can.
    Worn,
    /// The GPU does not work until it is reset, or for good.
    Dead,
}

/// What one XID means: whose fault it is, and in words. Numbers that are not known are a doubt.
#[must_use]
pub const fn meaning(xid: u64) -> (Fault, &'static str) {
    use Fault::{Dead, Doubt, Note, Program, Worn};
    match xid {
        8 => (Program, "a channel stopped processing"),
        11 => (Program, "a broken push buffer"),
        13 => (Program, "a graphics engine exception"),
        31 => (Program, "a memory page fault"),
        32 => (Program, "a broken push buffer stream"),
        43 => (Program, "a program's channel was stopped"),
        45 => (Program, "a program was taken off the GPU"),
        68 => (Program, "a video decoder exception"),
        69 => (Program, "a graphics class error"),
        137 => (Program, "an NVLink access that was not allowed"),
        // The memory mends itself; NVIDIA lets new work start even while a remapping is pending.
        63 => (Note, "a memory page or row was set aside"),
        92 => (Note, "many single-bit memory errors"),
        93 => (Note, "its info ROM wears out"),
        // The error stayed within one program, which was ended.
        94 => (Worn, "an uncorrectable memory error that was contained"),
        48 => (Worn, "an uncorrectable (double-bit) memory error"),
        64 => (Dead, "a broken memory page or row could not be set aside"),
        46 => (Dead, "it stopped responding"),
        54 => (Dead, "its power cable is not connected"),
        62 => (Dead, "its power controller halted"),
        79 => (Dead, "it has fallen off the bus"),
        95 => (Dead, "an uncorrectable memory error that was not contained"),
        109 => (Dead, "switching programs timed out"),
        110 => (Dead, "a security fault"),
        119 => (Dead, "its system processor does not answer"),
        120 => (Dead, "its system processor failed"),
        140 => (Dead, "a memory error that could not be recovered"),
        143 => (Dead, "it could not be started"),
        61 => (Doubt, "its power controller stopped at a breakpoint"),
        74 => (Doubt, "an NVLink error"),
        121 => (Doubt, "a chip-to-chip link error"),
        144..=150 => (Doubt, "an NVLink error"),
        154 => (Doubt, "the driver asks for it to be recovered"),
        _ => (Doubt, "an error that is not in NVIDIA's usual list"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_that_nvidia_s_own_plugin_ignores_are_the_program_s() {
        // As in the health check of NVIDIA's device plugin for Kubernetes.
        for xid in [13, 31, 43, 45, 68] {
            assert_eq!(meaning(xid).0, Fault::Program, "{xid}");
        }
        for xid in [64, 79, 95, 119] {
            assert_eq!(meaning(xid).0, Fault::Dead, "{xid}");
        }
        assert_eq!(meaning(999).0, Fault::Doubt);
    }
}
