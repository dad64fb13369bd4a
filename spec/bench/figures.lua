-- What benchmarks share: medians, and how a figure is told.

local figures = {}

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

local function verdict(value, most)
  if not most then return "" end
  return (" (%s %g)"):format(value <= most and "≤" or "ABOVE", most)
end

--- Tells a row: columns are { name, list of values with `why` when there are
--- none }, ratios { text, numerator, denominator, most }.
function figures.tell(name, unit, columns, ratios, most)
  local parts, medians = {}, {}
  for i, column in ipairs(columns) do
    local r = column[2]
    if #r > 0 then
      medians[i] = median(r)
      parts[#parts + 1] = ("%s %.4g [%.4g–%.4g]%s"):format(column[1],
        medians[i], r[1], r[#r], i == 1 and verdict(medians[i], most) or "")
    else
      parts[#parts + 1] = ("%s: %s"):format(column[1], r.why or "nothing")
    end
  end
  print(("\n%s, %s\n  %s"):format(name, unit, table.concat(parts, "; ")))
  for _, ratio in ipairs(ratios) do
    local a, b = medians[ratio[2]], medians[ratio[3]]
    if a and b then
      print(("  %-14s %.2f%s"):format(ratio[1], a / b,
        verdict(a / b, ratio[4])))
    end
  end
end

return figures
