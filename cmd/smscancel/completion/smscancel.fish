# fish completion for smscancel.
function __smscancel_complete
    set -l token (commandline -ct)
    set -l words (commandline -opc) "$token"
    set -l option (string match -r -- '^--[^=]*=' "$token")
    set -l path (string replace -r -- '^--[^=]*=' '' "$token")
    set -l found ($words[1] __complete $words[2..-1] 2>/dev/null)
    switch "$found[1]"
        case :files
            set found (__fish_complete_path "$path")
            printf "$option%s\n" $found
        case :directories
            set found (__fish_complete_directories "$path" '')
            printf "$option%s\n" $found
        case '*'
            printf '%s\n' $found
    end
end
complete -c smscancel -f -a '(__smscancel_complete)'
