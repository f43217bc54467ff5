#![no_main]
#![allow(missing_docs, reason = "the library says what it proves")]

use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let heap = fuzz::Heap {
        held: || HEAP.current_usage(),
        peak: || HEAP.peak_usage(),
        reset: || HEAP.reset_peak_usage(),
    };
    fuzz::cost(data, heap);
});
