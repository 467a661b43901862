// Which tiles of queries may see a tile of keys, for a pass that goes over keys first: it costs what is
// seen.
#pragma once

#include "threads.h"
#include "visible.h"

namespace qkv::QKV_ISA {

// For each tile of keys of each head some runs of tiles of queries. Heads that share their intervals
// share these too.
class SeenTiles {
   public:
    SeenTiles(const Request& request, std::int64_t tile_queries, std::int64_t tile_keys)
        : request_(request),
          tile_queries_(tile_queries),
          tile_keys_(tile_keys),
          key_tiles_((request.keys + tile_keys - 1) / tile_keys),
          batch_(request.intervals.batch == 0 ? 1 : request.batch),
          heads_(request.intervals.head == 0 ? 1 : request.heads),
          members_(request.intervals.group == 0 ? 1 : request.group),
          lists_(batch_ * heads_ * members_ * key_tiles_),
          starts_(lists_ + 1),
          runs_(count_runs()) {
        std::int64_t* written = starts_.data() + 1;  // each becomes its list's end, the next one's start
        for_each_pair([&](std::int64_t list, std::int64_t tile, bool goes_on) {
            Range* next = runs_.data() + written[list];
            if (goes_on) {
                next[-1].stop = tile + 1;
            } else {
                *next = {tile, tile + 1};
                ++written[list];
            }
        });
    }

    // Calls work(queries) for the tiles of queries of which any may see a key of this tile.
    template <class Work>
    void for_each(Lead lead, std::int64_t first_key, Work work) const {
        const std::int64_t list = first_list(lead) + first_key / tile_keys_;
        for (std::int64_t i = starts_.data()[list]; i < starts_.data()[list + 1]; ++i)
            for (std::int64_t tile = runs_.data()[i].start; tile < runs_.data()[i].stop; ++tile)
                work(queries_of(tile));
    }

   private:
    Range queries_of(std::int64_t tile) const {
        return {tile * tile_queries_, smaller((tile + 1) * tile_queries_, request_.queries)};
    }

    std::int64_t first_list(Lead lead) const {
        const std::int64_t batch = batch_ == 1 ? 0 : lead.batch, head = heads_ == 1 ? 0 : lead.head;
        return ((batch * heads_ + head) * members_ + (members_ == 1 ? 0 : lead.member)) * key_tiles_;
    }

    // Puts the place where each list's runs begin into `starts_`, one further than it belongs.
    // Returns how many runs there are.
    std::int64_t count_runs() const {
        std::int64_t* counts = starts_.data();
        for (std::int64_t list = 0; list <= lists_; ++list) counts[list] = 0;
        for_each_pair([&](std::int64_t list, std::int64_t, bool goes_on) { counts[list] += !goes_on; });
        std::int64_t total = 0, before = 0;
        for (std::int64_t list = 0; list < lists_; ++list) {
            total += counts[list];
            counts[list] = before;
            before = total;
        }
        for (std::int64_t list = lists_; list > 0; --list) counts[list] = counts[list - 1];
        return total;
    }

    // Calls work(list, tile, goes_on) for each tile of queries and each list that it belongs to, tiles
    // in their order; whether the list's last tile was the one before.
    template <class Work>
    void for_each_pair(Work work) const {
        Numbers<std::int64_t> ends(lists_);
        for (std::int64_t list = 0; list < lists_; ++list) ends.data()[list] = -1;
        const std::int64_t tiles = (request_.queries + tile_queries_ - 1) / tile_queries_;
        for (std::int64_t i = 0; i < batch_ * heads_ * members_; ++i) {
            const Lead lead = {i / members_ / heads_, i / members_ % heads_, i % members_};
            const Visible visible(request_, lead);
            for (std::int64_t tile = 0; tile < tiles; ++tile)
                for (const Range& keys : visible.keys_of(queries_of(tile), tile_keys_))
                    for (std::int64_t key = keys.start; key < keys.stop; key += tile_keys_) {
                        const std::int64_t list = first_list(lead) + key / tile_keys_;
                        work(list, tile, ends.data()[list] == tile);
                        ends.data()[list] = tile + 1;
                    }
        }
    }

    const Request& request_;
    std::int64_t tile_queries_, tile_keys_, key_tiles_;
    std::int64_t batch_, heads_, members_;  // that have intervals of their own
    std::int64_t lists_;
    Numbers<std::int64_t> starts_;
    Numbers<Range> runs_;
};

}  // namespace qkv::QKV_ISA
