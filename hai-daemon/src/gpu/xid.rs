//! XID numbers: what NVIDIA's driver calls the errors of a GPU, and whose fault each of them is.
//!
//! After the catalogue in NVIDIA's "Xid Errors" (docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html, all numbers up
//! to 172), by the column of immediate actions: RESTART_APP is the program's fault here, IGNORE a note, RESET_GPU,
//! RESTART_BM and CHECK_MECHANICALS the hardware's. What differs from that column says why. Numbers that the catalogue calls
//! unused, or gives no action, are a doubt.

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
        11 | 25 => (Program, "a broken push buffer"),
        13 => (Program, "a graphics engine exception"),
        31 => (Program, "a memory page fault"),
        39..=41 | 70..=72 | 75..=77 | 85 | 126..=135 => (Program, "a copy engine exception"),
        // The catalogue says to ignore it, and that a program made a mistake and was ended.
        43 => (Program, "a program's channel was stopped"),
        // What is to be done depends on what else is reported; by itself it tells that a program was ended.
        45 => (Program, "a program was taken off the GPU"),
        60 => (Program, "a video processor exception"),
        68 | 83 | 84 | 88 | 89 | 96..=98 => (Program, "a video decoder exception"),
        69 => (Program, "a graphics class error"),
        80 => (Program, "data that arrived broken"),
        82 | 99..=105 => (Program, "an image decoder exception"),
        86 | 139 => (Program, "an optical flow exception"),
        // To ignore, and a program's mistake like 31.
        137 => (Program, "an NVLink access that was not allowed"),
        // The memory mends itself; NVIDIA lets new work start even while a remapping is pending.
        63 => (Note, "a memory page or row was set aside"),
        92 => (Note, "many single-bit memory errors"),
        93 => (Note, "its info ROM wears out"),
        14 | 106 | 107 => (Note, "an error that somebody made up for a test"),
        37 | 38 | 44 => (Note, "an error of its firmware's"),
        66 | 67 => (Note, "an access of the driver's that was not allowed"),
        108 => (Note, "an NVLink address that could not be translated"),
        121 => (Note, "chip-to-chip link errors that were corrected"),
        141 => (Note, "a fast path error"),
        152 | 153 => (Note, "a deep learning accelerator error"),
        157 => (Note, "a broken part could not be set aside, since there is no spare one"),
        160 | 161 => (Note, "a memory channel was, or could not be, set aside"),
        162..=165 => (Note, "power is smoothed differently"),
        // The error stayed within one program, which was ended; others run on, and a reset is advised when it suits.
        94 => (Worn, "an uncorrectable memory error that was contained"),
        48 => (Worn, "an uncorrectable (double-bit) memory error"),
        // They only tell more of a 48.
        171 | 172 => (Worn, "an uncorrectable memory error"),
        // A reset is asked for to complete a repair, or after a link went down on purpose: what runs needs not end for it.
        155 => (Worn, "an NVLink went down"),
        156 => (Worn, "a broken part is set aside with the next reset"),
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
        136 => (Dead, "an NVLink could not be trained"),
        140 => (Dead, "a memory error that could not be recovered"),
        143 => (Dead, "it could not be started"),
        158 => (Dead, "it did not answer in time"),
        // RESTART_APP, but mostly about the quality of the PCI link, and not what a program did.
        32 => (Doubt, "a push buffer that arrived broken, mostly for a bad PCI link"),
        // Of older drivers; newer ones do not use it.
        61 => (Doubt, "its power controller stopped at a breakpoint"),
        // What is to be done hangs on registers that are not told here.
        74 => (Doubt, "an NVLink error"),
        144..=150 => (Doubt, "an NVLink error"),
        78 => (Doubt, "a virtual GPU did not start"),
        151 => (Doubt, "a key could not be changed"),
        // Which recovery it asks for, if any, is not told here.
        154 => (Doubt, "the driver asks for it to be recovered"),
        159 => (Doubt, "a chip-to-chip link error"),
        167 => (Doubt, "a PCI request timed out"),
        169 => (Doubt, "its security processor halted"),
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
        assert_eq!(meaning(999).0, Fault::Doubt);
    }

    /// The catalogue's columns "resolution bucket (immediate action)", as they were on 2026-11-27.
    #[test]
    fn the_catalogue_s_immediate_actions_are_followed() {
        let restart_app: &[u64] = &[
            8, 11, 13, 25, 31, 39, 40, 41, 60, 68, 69, 70, 71, 72, 75, 76, 77, 80, 82, 83, 84, 85, 86, 88, 89, 96, 97,
            98, 99, 100, 101, 102, 103, 104, 105, 126, 127, 128, 129, 130, 131, 132, 133, 134, 135, 139,
        ];
        let ignore: &[u64] = &[14, 37, 38, 44, 63, 66, 67, 92, 93, 106, 107, 108, 121, 141, 152, 153, 157, 160, 161];
        let reset: &[u64] = &[46, 62, 64, 79, 95, 109, 110, 119, 120, 136, 140, 143, 158];
        for (list, fault) in [(restart_app, Fault::Program), (ignore, Fault::Note), (reset, Fault::Dead)] {
            for xid in list {
                assert_eq!(meaning(*xid).0, fault, "{xid}");
            }
        }
        let unused = (1..=7).chain([9, 10, 12]).chain(15..=24).chain(26..=30).chain(33..=36).chain([42, 47, 56, 90]);
        for xid in unused.chain(111..=118).chain(122..=125).chain([138]) {
            assert_eq!(meaning(xid), meaning(999), "{xid}");
        }
    }
}
